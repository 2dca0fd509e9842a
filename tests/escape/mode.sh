# Tries: makes an unclaimed file executable.
# Confined: caught
# Strict: lands
# Free: caught

chmod +x "$beside"
