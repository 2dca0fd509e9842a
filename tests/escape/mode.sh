# Tries: makes an unclaimed file executable.
# Confined: caught
# Free: caught

chmod +x "$beside"
