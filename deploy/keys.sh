# shellcheck shell=sh
# Sourced by deploy/swarm, whose $stack, $image, $root, $work, say and give_up it uses: the stack's key, tokens and secrets.
#
# They lie in the volume <stack>_keys of this machine, and go from there into secrets of the Swarm. They are never printed, nor do they
# stand in the arguments of a program.

# in_keys COMMAND [ARGUMENTS]: runs a shell command in the image, where the keys lie. No network.
in_keys() {
    docker run --rm -i --network none --tmpfs /etc/demesh:mode=777 --tmpfs /run/secrets:mode=777 -v "${stack}_keys:/var/lib/demesh" \
        --entrypoint sh "$image" -euc "$@"
}

# take FILE NAME COMMAND: has the volume keep FILE's content as NAME, if the command takes it.
take() {
    in_keys "umask 077; cat >given; $3; mv given $2" <"$1"
}

make_keys() {
    docker volume inspect "${stack}_keys" >/dev/null 2>&1 ||
        docker volume create --label "com.docker.stack.namespace=$stack" "${stack}_keys" >/dev/null
    file=${DEMESH_SWARM_KEY_FILE:-}
    if [ -z "$file" ] && [ -e "$root/swarm_key/swarm.key" ]; then file=$root/swarm_key/swarm.key; fi
    if [ -n "$file" ]; then
        take "$file" swarm.key 'demesh swarm-key fingerprint given >/dev/null' || give_up "$file cannot be taken as the swarm key."
        say "Swarm key: that of $file."
    elif ! in_keys '[ -e swarm.key ]' </dev/null; then
        require_no_mesh
    fi
    if [ -n "${ALERTMANAGER_SECRET_FILE:-}" ]; then
        take "$ALERTMANAGER_SECRET_FILE" alertmanager_secret '[ -s given ]' || give_up "$ALERTMANAGER_SECRET_FILE cannot be taken as a secret."
    fi
    in_keys '
        umask 077
        [ -e swarm.key ] || demesh swarm-key new swarm.key >/dev/null
        for token in api_read_token api_write_token grafana_password; do
            if [ ! -e "$token" ]; then
                python -c "import secrets; print(secrets.token_urlsafe(32))" >"$token.new"
                mv "$token.new" "$token"
            fi
        done
        sha256sum swarm.key api_read_token api_write_token grafana_password | cut -c 1-8
        demesh swarm-key fingerprint swarm.key
        [ ! -e alertmanager_secret ] || sha256sum alertmanager_secret | cut -c 1-8' </dev/null >"$work/versions" ||
        give_up "The keys in the volume ${stack}_keys cannot be read."
    {
        read -r SWARM_KEY_VERSION
        read -r API_READ_TOKEN_VERSION
        read -r API_WRITE_TOKEN_VERSION
        read -r GRAFANA_PASSWORD_VERSION
        read -r fingerprint
        read -r ALERTMANAGER_SECRET_VERSION || :
    } <"$work/versions"
    export SWARM_KEY_VERSION API_READ_TOKEN_VERSION API_WRITE_TOKEN_VERSION GRAFANA_PASSWORD_VERSION ALERTMANAGER_SECRET_VERSION
}

# No key here though there is a mesh: one that is made now would shut this stack's nodes out of it.
require_no_mesh() {
    known=$(docker service inspect "${stack}_demesh" --format '{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}} {{end}}' 2>/dev/null) || :
    case "$known $(docker volume ls -q --filter "$of_stack" | tr '\n' ' ')" in
    *"${stack}_swarm_key_"* | *"${stack}_data"*) ;;
    *) return ;;
    esac
    give_up "There is a mesh already, and the volume ${stack}_keys of this machine has no swarm key of it. Did another machine deploy it? Then run this there.
If the volume is lost, a machine on which a node runs tells the key:
  umask 077; docker exec \$(docker ps -q -f label=com.docker.swarm.service.name=${stack}_demesh | head -n 1) cat /run/secrets/swarm_key >~/swarm.key
  DEMESH_SWARM_KEY_FILE=~/swarm.key deploy/swarm up
To begin with a new key, which makes another mesh, make one and name it in the same way: bin/demesh swarm-key new ~/swarm.key"
}

keep_secrets() {
    keep_secret "swarm_key_$SWARM_KEY_VERSION" swarm.key
    keep_secret "api_read_token_$API_READ_TOKEN_VERSION" api_read_token
    keep_secret "api_write_token_$API_WRITE_TOKEN_VERSION" api_write_token
    keep_secret "grafana_password_$GRAFANA_PASSWORD_VERSION" grafana_password
    [ -z "$ALERTMANAGER_SECRET_VERSION" ] || keep_secret "alertmanager_secret_$ALERTMANAGER_SECRET_VERSION" alertmanager_secret
    say "Keys and tokens: in the volume ${stack}_keys; the swarm key has the fingerprint $fingerprint."
}

# keep_secret NAME FILE: has the Swarm keep what the file holds, from the volume and under a name that says its version.
keep_secret() {
    if docker secret inspect "${stack}_$1" >/dev/null 2>&1; then return; fi
    in_keys 'cat "$1"' sh "$2" </dev/null |
        docker secret create --label "com.docker.stack.namespace=$stack" "${stack}_$1" - >/dev/null
    say "Made the secret ${stack}_$1."
}
