# Tries: forges the journal, the leases, the wishes and the settings.
# Confined: lands
# Free: skipped: it would end its own job, or forge what it says

echo '{"seq":1,"event":"job.finished"}' >> "$run/events.ndjson"
echo x > "$run/want.killed"
echo x > "$run/status.json"
echo x > "$run/$case/result-1.json"
unlink "$run/worker.lock"
for lease in "$repo"/.git/numerus/leases/*; do unlink "$lease"; echo x > "$lease"; done
echo 'sandbox = "danger-full-access"' >> "$root/numerus.toml"
echo x > "$root/spool/incoming/planted.md"
echo x > "$root/store/tasks.db"
