# Functions for a throw-away server that speaks S3 (moto, from PyPI) on a free port of loopback, to be sourced by the
# scripts here. start_bucket exports WAXWING_TEST_S3; stop_bucket removes all.
# shellcheck shell=bash

bucket_pid=

start_bucket() { # folder of the virtual environment
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$1/bin/python" -m moto.server -H 127.0.0.1 -p "$port" > /dev/null 2>&1 < /dev/null &
    bucket_pid=$!
    export WAXWING_TEST_S3="http://127.0.0.1:$port"
    for _ in $(seq 100); do
        (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && return 0
        kill -0 "$bucket_pid" 2> /dev/null || break
        sleep 0.2
    done
    echo "moto did not start" >&2
    return 1
}

stop_bucket() {
    [ -z "$bucket_pid" ] || { kill "$bucket_pid" 2> /dev/null; wait "$bucket_pid" 2> /dev/null; }
    bucket_pid=
    unset WAXWING_TEST_S3
}
