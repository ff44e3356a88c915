# Functions that the scripts Tests/System/run and Benchmarks/run share.

fail() {
  echo "$0: $1" >&2
  exit 2
}

# Whether $1 starts (a shim of pyenv may not) and has all that the tests need.
usable() {
  "$1" -c 'import ensurepip, sqlite3, ssl, venv' 2>/dev/null
}

# The newest installed Python: Django 6 needs 3.12, and an older Python gets Django 5.2.
find_python() {
  local version candidate pyenv_root=
  if command -v pyenv >/dev/null; then pyenv_root=$(pyenv root); fi
  for version in 3.14 3.13 3.12; do
    for candidate in "python$version" "$pyenv_root/versions/$version".*/bin/python; do
      if usable "$candidate"; then
        echo "$candidate"
        return
      fi
    done
  done
  if usable python3; then echo python3; fi
}

# Creates or updates the virtual environment in folder $1; the other arguments are pip's.
make_venv() {
  local folder=$1 python full_version='import sys; print(sys.version)'
  shift
  python=$(find_python)
  [[ -n $python ]] || fail "a python3 with venv is missing; on Debian: apt-get install python3-venv"
  if [[ $("$folder/bin/python" -c "$full_version" 2>/dev/null) != "$("$python" -c "$full_version")" ]]; then
    "$python" -m venv --clear "$folder"
  fi
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}
