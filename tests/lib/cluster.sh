# shellcheck shell=bash
# A private PostgreSQL cluster for one test run: sourced by the runners of tests/db and tests/isolation.
#
#   cluster_start      makes it in a scratch folder, unix socket only, and exports PGHOST, PGUSER and PGPORT
#   cluster_stop       stops and removes it (call it from an EXIT trap)
#   cluster_template   builds the database `orch_template` from the project's schema
#
# PostgreSQL refuses to run as root, so then the server (only the server) runs as the user postgres or nobody, from a
# folder of its own outside the checkout, which may lie below a home folder that nobody else can enter.
# ORCH_PG_HOME names another installation (with bin/ and share/) than Debian's newest.

cluster_dir=

cluster_home() { # prints the installation to use
  if [ -n "${ORCH_PG_HOME:-}" ]; then echo "$ORCH_PG_HOME"; return; fi
  find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort -V | tail -n 1
}

cluster_as_server() { # runs a command as the user who owns the cluster
  if [ "$(id -u)" != 0 ]; then "$@"; return; fi
  local user=nobody
  ! id -u postgres >/dev/null 2>&1 || user=postgres
  (cd "$cluster_dir" && setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups env HOME="$cluster_dir" "$@")
}

cluster_start() {
  local home variable
  for variable in $(compgen -v | grep -E '^(PG|ORCH_DATABASE|ORCH_CONFIG|ORCH_STORE)' | grep -vx ORCH_PG_HOME); do
    unset "$variable"
  done
  home=$(cluster_home)
  [ -x "$home/bin/postgres" ] || { echo "no PostgreSQL server found (run scripts/setup)" >&2; return 1; }
  cluster_dir=$(mktemp -d /tmp/orch-cluster.XXXXXX)
  if [ "$(id -u)" = 0 ]; then
    chown "$(cluster_as_server id -u)" "$cluster_dir"
    case $home in
      /usr/*) ;;
      *) cp -r "$home" "$cluster_dir/postgres"; home=$cluster_dir/postgres; chmod -R go+rX "$home" ;;
    esac
  fi
  cluster_bin=$home/bin
  cluster_as_server "$cluster_bin/initdb" -D "$cluster_dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 \
    --no-sync >"$cluster_dir/log" 2>&1 || { cat "$cluster_dir/log" >&2; return 1; }
  cluster_as_server "$cluster_bin/pg_ctl" -D "$cluster_dir/data" -l "$cluster_dir/server.log" -w -t 60 -s \
    -o "-h '' -k $cluster_dir -N 60 ${cluster_durability--c fsync=off -c full_page_writes=off} -c log_min_messages=fatal" start || { cat "$cluster_dir/server.log" >&2; return 1; }
  export PGHOST=$cluster_dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

cluster_stop() {
  [ -n "$cluster_dir" ] || return 0
  if [ -f "$cluster_dir/data/postmaster.pid" ]; then
    cluster_as_server "$cluster_bin/pg_ctl" -D "$cluster_dir/data" -m immediate -w -s stop || true
  fi
  rm -rf "$cluster_dir"
  cluster_dir=
}

cluster_template() { # cluster_template TOP: needs the built binary, which carries the schema
  local top=$1 orch=${ORCH_BIN:-$1/build/dev/orch} file
  psql -X -q -v ON_ERROR_STOP=1 -c 'create database orch_template' || return 1
  if [ -x "$orch" ] && "$orch" migrate --help >/dev/null 2>&1; then
    "$orch" --database "postgresql:///orch_template?host=$PGHOST&user=$PGUSER" migrate >"$cluster_dir/migrate" 2>&1 ||
      { cat "$cluster_dir/migrate" >&2; return 1; }
    return 0
  fi
  for file in "$top"/schema/migrations/*.sql "$top"/schema/functions/*.sql; do
    [ -e "$file" ] || continue
    psql -X -q -v ON_ERROR_STOP=1 -d orch_template -f "$file" >"$cluster_dir/migrate" 2>&1 ||
      { cat "$cluster_dir/migrate" >&2; return 1; }
  done
}
