# Sourced by the scripts beside it. A pyenv shim may be on the PATH although there is no
# Python behind it, so the callers try every candidate.

# An active virtual environment or a sourced ROS 2 must not affect the set-up.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE

# Prints the path of every candidate, best first.
#   python_candidates CHOSEN NAME...
# If the user named one, CHOSEN, it is the only candidate. Otherwise NAMEs are searched on the PATH.
python_candidates() {
    chosen_by_user=$1
    shift
    if [ -n "$chosen_by_user" ]; then
        command -v -- "$chosen_by_user" || true
        return
    fi
    for name in "$@"; do
        old_ifs=$IFS
        IFS=:
        for folder in $PATH; do
            if [ -x "$folder/$name" ]; then printf '%s\n' "$folder/$name"; fi
        done
        IFS=$old_ifs
    done
}
