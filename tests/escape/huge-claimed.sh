# Tries: lets a claimed file grow beyond what git can take in.
# Confined: caught
# Free: caught

truncate -s 10G "$mine/new.txt"
