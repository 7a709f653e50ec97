"""The production network: `demesh.mesh.network.Network` on py-libp2p 0.8.1 (`demesh.mesh.libp2p.host.Libp2pNetwork`).

Guaranteed: every byte on a socket is enciphered with the swarm key as the libp2p private network spec says; every peer
has proved its Ed25519 key before it has a name here; no peer, whatever it sends, ends the network or its process; every
queue, table and wait a peer can cause has a bound. Not guaranteed: that a broadcast arrives (it is a hint), or that a
peer which holds the swarm key cannot waste this node's time.

TCP, Noise and Yamux only: QUIC, WebTransport and WebRTC go around the swarm key. The library is subclassed and
configured, never patched; docs/libp2p.md lists what for. What stands between it and the promises above, one idea a file:

    psk        the spec's cipher; the library's own is another one, and breaks when TCP splits a nonce; for either of two keys
    door       how many strangers may be on the doorstep at once
    listener   where connections are accepted, so that a failure ends the network and not the process
    transport  TCP with both; frees the inbound slot of a closed connection, which the library never does
    identity   peers are Ed25519 keys, and nobody is ourselves
    dial       who listens at host:port, in one connection, with errors that name the cause
    swarm      no dialling of its own, no handler's exception past its stream
    muxer      Yamux whose pings tell a dead connection, and that does not waste frames
    pubsub     gossip that survives any bytes and forgets what it need not know
    peers      which peers are connected, counted by connection
    stream     a sync stream that a cancelled sender cannot corrupt
    build      the host and its settings
    health     whether the host is alive though nothing failed, and what it died of
    host       Libp2pNetwork: all of it under one nursery
    quiet      the library's log, kept off the terminal

Importing `host` imports libp2p: about three seconds and 60 MB. Import it only where a node runs.
"""
