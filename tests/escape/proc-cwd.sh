# Tries: writes into the working directory and the root of every process that it sees.
# Confined: caught
# Strict: lands
# Free: skipped: it writes into the folders of every process of the machine

for process in /proc/[0-9]*; do
    echo x > "$process/cwd/planted"
    echo x >> "$process/root$repo/README"
done
