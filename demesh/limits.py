"""Every bound of demesh, one line each, the unit last in the name.

A bound that more than one version of demesh must agree on (the formats of docs/protocol.md) is marked *wire*: raising it
lets a new node write what an old one refuses. The others are local and may be changed freely.
"""

# Entries and payloads (docs/protocol.md)
ENTRY_BYTES_MAX = 16_384  # wire: an envelope, signature included
ENTRY_DEPTH_MAX = 5  # wire: nested arrays, the body's own included
SEQ_MAX = 2**53 - 1  # wire: exact in every JSON reader
TIME_MS_MAX = 2**53 - 1  # wire
NEXT_MS_MAX = 7 * 86_400_000  # wire: the longest silence a node may announce
NAME_CHARS_MAX = 64  # wire: of a node or a check
TAGS_MAX = 32  # wire
ADDRESSES_MAX = 16  # wire: in a hello
TEXT_CHARS_MAX = 1_024  # wire: any other text of a payload
DETAIL_BYTES_MAX = 200  # wire: one detail of a result, UTF-8
RESULTS_PER_ENTRY_MAX = 256  # wire: what a reader accepts
PLAN_PARTS_MAX = 1_024  # wire
LABELS_MAX = 32  # wire: on one check
DEPENDENCIES_MAX = 32  # wire: of one check
SPREAD_MAX = 65_535  # wire: of one check
CARRY_PARTS_MAX = 1_024  # wire
CARRIED_LOGS_MAX = 4_096  # wire: earlier epochs that a carry names; so many are remembered of one key

PROOF_ENTRIES_MAX = (
    4_096  # wire: of one history in a proof of a fork; what a page of sync may hold between two signatures
)
PROOF_SEGMENT_BYTES_MAX = 524_288  # wire: the same in bytes, which a page may hold between two signatures

# Batching and storing
RESULTS_PER_FLUSH_MAX = 64
FLUSH_INTERVAL_MS_DEFAULT = 10_000
FLUSH_INTERVAL_MS_MIN = 1_000
FLUSH_INTERVAL_MS_MAX = 300_000
CERTIFICATE_EXPIRY_REPEAT_MS = 3_600_000  # an unchanged expiry is written again this often
STORE_DAYS_MAX = 3_650
STORE_RAW_DAYS_DEFAULT = 30  # results
STORE_HOUR_DAYS_DEFAULT = 90  # rollups
STORE_BYTES_DEFAULT = 2_000_000_000  # log.db and view.db together; wins over the two above
STORE_BYTES_MIN = 50_000_000
STARTUP_TAIL_ENTRIES_MAX = 512  # per log, folded at start
BACKUP_FILES_MAX = 10_000
BACKUP_FILE_BYTES_MAX = 64 * 1_048_576  # any but the store, which may be of any size
LEFTOVER_AGE_MS_MIN = 60_000  # of a file that a killed command has left, before it is taken away
CHANGE_WAIT_SECONDS_MAX = 10  # for another command that changes the configuration or the tokens
SIGNED_EVERY = (
    32  # one entry of so many keeps its signature in the store; so many fit a page of sync, whatever their size
)
SIGNED_NEWEST = 8  # so many, at the end of each log, keep theirs meanwhile; divides SIGNED_EVERY
STORE_WAL_BYTES_KEPT_MAX = 16 * 1_048_576  # what stays of the store's WAL once it is written back

# Retention
RETENTION_ROWS_MAX = 2_500  # forgotten in one transaction
RETENTION_PAGES_MAX = 1_000  # given back to the file system in one transaction
RETENTION_ENTRIES_MIN = 2_048  # of each log, that stay where its dates do not say what is old
RETENTION_RAW_MS_MIN = 6 * 3_600_000  # what the size budget leaves at least: longer than it takes until they are summed
PAST_SETTLED_MS = 3_600_000  # a node that has run for so long has got back what others hold of its earlier epochs
EPOCHS_WHOLE_MAX = 16  # of one key; of those before, only sums are kept
EPOCHS_OVER_MAX = 32  # earlier epochs that are over; when there are more, all but EPOCHS_WHOLE_MAX are carried at once
EPOCHS_PRESSING_MAX = 64  # earlier epochs; when there are more, they are over sooner
EPOCH_OVER_MS = 8 * 86_400_000  # since its last entry: longer than the periods that are told from hours
CARRY_PARTS_WRITTEN_MAX = 256  # in one go, about 4 MB

# Logs and members
START_ASK_SECONDS_MAX = 5  # a node waits so long for members who can say how far its log went
START_ASK_MEMBER_MS_MAX = 7 * 86_400_000  # a member from whom nothing came for so long is not asked
LOGS_MAX = 1_024  # of others
PEER_IDS_REMEMBERED = 2 * LOGS_MAX  # so that no answer makes the text of all of them anew
EPOCHS_PER_KEY_MAX = 256  # logs of one member
NEW_MEMBERS_BURST = 64  # that the configuration does not name, after a start
NEW_MEMBERS_PER_HOUR = 10  # after those
DENIED_MAX = 4_096  # keys in the configuration
TURNED_AWAY_MAX = 4_096  # logs of whose owners it is remembered that they are not admitted
FORGETS_MAX = 4_096  # members and logs that events have forgotten
EVENTS_AT_START_MAX = 4_096  # per log, read at start; of those before nothing is known that was decided
NOTICES_AT_START_MAX = 2_048  # the same of notices
LEFT_AFTER_MS = 7 * 86_400_000  # of silence that this node itself observed
EPOCHS_DROPPED_MAX = 4_096  # logs given up for newer ones of their member, that are not taken again
SYNC_VECTOR_ROWS_MAX = 4_096  # wire; more than LOGS_MAX, so that no own epoch makes a vector too long

# Mesh
GOSSIP_MESSAGE_BYTES_MAX = 65_536
INTAKE_QUEUE_BATCHES_MAX = 256
CLAIM_MS_MAX = 60_000  # for so long one pull keeps others from a log
FORK_PROOFS_PER_LOG_MAX = 16  # that move its end or take the place of another, in one run of a node
FORK_TOLD_MS = 86_400_000
FORK_SEARCHES_MAX = 2  # in one session
FORK_PROOFS_CITED_MAX = 16  # wire
FORK_REACH_ENTRIES = 64
FORK_QUESTIONS_MAX = 64  # to find where two histories part; 2^53 entries would need 54
SYNC_PAGE_BYTES_MAX = 524_288  # wire
SYNC_PAGE_ENTRIES_MAX = 4_096  # wire
SYNC_FRAME_BYTES_MAX = 2 * PROOF_SEGMENT_BYTES_MAX + 65_536  # wire
SHOWN_BEHIND_MAX = 1_024  # entries that are to come of a log; with more, nothing of it is shown until its end is there
PREVIEW_BEHIND_MIN = 2_048  # entries that are lacked of a log; with more, its end is asked for first
PREVIEW_PLAN_BYTES_MAX = 4 * 1_048_576  # of the plan that the end of a log names
PREVIEWS_MAX = 256  # logs of which the end is shown before the rest is there
ADOPTION_BYTES_MAX = 128 * 1_048_576  # of what is kept of one shortened log, the newest first
SYNC_SESSIONS_INBOUND_MAX = 16
SYNC_SESSION_SECONDS_MAX = (
    600  # while it makes progress: a log whose beginning is forgotten is taken in one session, or not at all
)
SYNC_IDLE_SECONDS_MAX = 10
SYNC_PIECE_BYTES_MAX = (
    16_384  # of a message, handed on at once: who takes no more than that in SYNC_IDLE_SECONDS_MAX is left
)
SYNC_PULLS_MAX = 4
REFUSALS_TOLD_MAX = 256  # log and reason, told once each
SYNC_INTERVAL_SECONDS = 30
PEER_CONNECTIONS_MAX = 300
PEER_HALF_OPEN_MAX = 64
PEER_HALF_OPEN_PER_ADDRESS_MAX = 16
PEER_UPGRADE_SECONDS_MAX = 5
TCP_USER_TIMEOUT_MS = 20_000
GOSSIP_MESSAGES_REMEMBERED_MAX = 64
GOSSIP_MESSAGES_PENDING_PER_PEER_MAX = 4
CONNECTIONS_PER_PEER_MAX = 4
STREAM_LINGER_SECONDS_MAX = 5
STREAMS_PER_CONNECTION_MAX = 256
NETWORK_FLUSH_SECONDS_MAX = 0.5
NETWORK_CLOSE_SECONDS_MAX = 2
NETWORK_REBUILD_SECONDS_MIN = 0.5  # after its first death, until the network is built anew; taken short by up to a half
NETWORK_REBUILD_SECONDS_MAX = 60
NETWORK_STEADY_SECONDS = 120  # a network that has run for so long begins with the shortest delay again
NETWORK_EXAMINE_SECONDS = 15  # between two looks whether the network is alive though nothing failed
NETWORK_EXAMINE_SECONDS_MAX = 5  # one look
NETWORK_EXAMINATIONS_FAILED_MAX = 3  # in a row; then the network is built anew
NETWORK_BUILD_SECONDS_MAX = 60  # until it listens or has failed; longer is a hang
CANCELLED_WRITE_SECONDS_MAX = 2
MESH_ID_SECONDS_MAX = 5  # until a peer has said of which mesh it is
KEY_EXCHANGE_SECONDS_MAX = 10  # one talk with one peer about a new swarm key
KEY_EXCHANGES_INBOUND_MAX = 16
KEY_MEMBERS_MAX = 1_025  # wire: who may have a new swarm key; LOGS_MAX and this node
KEY_ROUND_SECONDS = 1  # during a change of the swarm key: how often to look whom to talk to
KEY_REPEAT_SECONDS = 20  # and how often to talk again to a peer that knows all we know
KEY_FINISH_SECONDS_MAX = 3  # to tell the connected members that the old key is dropped
INVITATION_BYTES_MAX = 8_192
DIAL_SECONDS_MAX = 10
DIAL_BACKOFF_SECONDS_MIN = 1
DIAL_BACKOFF_SECONDS_MAX = 60
PEERS_WANTED = 8  # that a node dials of its own accord, beyond the configured ones
MEMBER_DIALS_MAX = 4  # at a time
MEMBER_ADDRESSES_TRIED_MAX = 8  # of one member, in one attempt
MEMBER_DIAL_SECONDS_MAX = 30  # one attempt, all addresses
MEMBER_DIAL_BACKOFF_SECONDS_MAX = 900
SEEN_AT_SECONDS_MAX = 5
MDNS_FOUND_MAX = 256  # nodes in the local network
ADDRESSES_LOOK_SECONDS = 60  # how often what is said of the own addresses is looked at
ADDRESSES_TOLD_SECONDS_MIN = 600  # between two hellos that only tell other addresses

# Asking members to try something
ASK_FRAME_BYTES_MAX = 32_768
ASK_TIMEOUT_MS_MAX = 30_000  # of the probe that is asked for
ASK_OPEN_SECONDS_MAX = 5  # for a member's stream, and for its question
ASK_GRACE_SECONDS = 3  # for the way there and back, besides the probe's timeout
ASK_PHASES_MAX = 16
ASKS_AT_ONCE_MAX = 8  # that this node has asked others for
ASKED_AT_ONCE_MAX = 16  # that others have asked this node for
ASKED_AT_ONCE_PER_MEMBER_MAX = 4
ASKED_PER_MINUTE_MAX = 60
ASKED_EXPECTATIONS_MAX = 4  # headers and JSON values; each search may hold the event loop for PATTERN_SECONDS_MAX
ASKED_PER_MEMBER_PER_MINUTE_MAX = 20
RELAY_FRAME_BYTES_MAX = 4_096
RELAY_SECONDS_MAX = 30  # a round trip through a TURN server, from its first message to its last
RELAY_DATAGRAMS = 3  # at most, of requests to the TURN server and of those to the relayed address each
RELAY_HELPERS_MAX = 2  # members that are asked before the server is held to have lost what they sent
RELAY_WAIT_SECONDS_MAX = 1  # for what a member has sent to come out of the relay

# Checks and probes
CHECKS_MAX = 10_000
PROBE_PLACES_MAX = 256
HOST_PLACES_MAX = 8
COMMAND_PLACES_MAX = 64
PLUGIN_PLACES_MAX = 32
DUTY_LOOK_SECONDS = 1  # how often a node looks whether the mesh asks something else of it
CANDIDATE_TRIES_MAX = 3  # so often a server of a list is tried before it passed for the first time; then it is parked
PARKING_LOOK_MS = 30_000  # how often a node looks what to park and what has answered after all
PARKED_APART_MS = (
    600_000  # at least, between two plans that differ in what is newly parked: each plan is told as a whole
)
SPREAD_TAKE_OVER_MS = 10_000  # a node has been among the chosen for so long before it runs a check with spread
SPREAD_HAND_BACK_MS = 60_000  # the others have run it for so long before one that is not chosen stops
ADOPTED_CHECKS_MAX = 1_000
ADOPTED_BUILT_PER_LOOK_MAX = 100  # each takes about 0.3 ms of the event loop
ADOPTED_SETTLED_MS = 5_000  # another member's checks have stayed the same for so long before they are followed
ADOPTED_MISSING_TOLD_MS = 60_000  # a member that is named, and has not been met for so long, is told of
ADOPTIONS_TOLD_MAX = 256  # sentences on what is not taken over, each told once
TIMED_OUT_SHARE = 5 / 8  # of each pool of places, for checks that timed out the last time
UNPROVEN_SHARE = 7 / 8  # for these and the checks that have not run yet, together
PROBE_TURN_MS = 250  # so long a run keeps its place in any case; when it hangs for longer, the place is given on
BLOCKING_TURN_MS = 1_000  # the same in the pools of commands and plug-ins
PROBES_LINGERING_MAX = 4_096  # runs that go on without a place; fewer where the process may open fewer descriptors
HOST_LINGERING_MAX = 256  # of these at one host
COMMANDS_LINGERING_MAX = 512
PLUGINS_LINGERING_MAX = 512
PROBE_DESCRIPTORS_MAX = 3
DESCRIPTORS_KEPT = 640  # for all else: connections of peers and of the API, files
DESCRIPTORS_WANTED = 32_768  # what a node raises its own limit to, where it may
HOST_SPACING_MS = 20  # between the starts of two probes at one host
NAME_ADDRESSES_MAX = 8  # of a name that is checked on each of its addresses
OTHER_ADDRESSES_MAX = 256  # asked at once besides the first one of each such check
PROBE_THREADS_MAX = 1_024  # of each blocking probe; those given up count until they end
COMMAND_OUTPUT_BYTES_MAX = 65_536
SLOT_LATE_MS_MAX = 2_000  # a slot that is later is missed
LATENESS_NOTED_MS = 100  # less is not told
LOOP_PAUSES_KEPT_MAX = 256
LOOKUPS_MAX = 1_024  # threads that look up names; those given up count until they end
HTTP_BODY_BYTES_MAX = 1_048_576
PATTERN_SECONDS_MAX = 0.1  # one search of a user's regular expression, which holds the event loop
HTTP_REDIRECTS_MAX = 5
ACTUAL_CHARS_SHOWN_MAX = 80
CA_FILE_BYTES_MAX = 4 * 1_048_576
CA_FILES_KEPT_MAX = 64
STARTTLS_BYTES_MAX = 8_192  # what a server may say before TLS
TCP_ANSWER_BYTES_MAX = 65_536
TCP_ANSWER_SEARCH_SECONDS_MAX = 0.5  # all searches of one answer, which is searched anew whenever more of it comes
TLS_CONTEXTS_MAX = 32  # kept; one with this machine's authorities takes about 1 MB
DNS_UDP_BYTES_ANNOUNCED = 1_232  # fits any path unfragmented (DNS flag day 2020)
DNS_UDP_BYTES_MAX = 4_096  # of one datagram that is read; what a server sends beyond the announced is cut there
DNS_TCP_BYTES_MAX = 16_384  # of one reply over TCP or TLS
DNS_RECORDS_MAX = 256  # in one reply's answers
DNS_LABELS_MAX = 4_096  # of all names that are read of one reply
DNS_STRAYS_MAX = 64  # datagrams that answer another question, before one gives up
DNS_RESOLVERS_MAX = 3  # of this machine's; what the C library reads of /etc/resolv.conf
STUN_BYTES_MAX = 2_048  # of one message that is read
STUN_RETRANSMIT_SECONDS = (
    0.5  # over UDP, until a request is sent again; twice as long each time (RFC 8489, section 6.2.1)
)
STUN_SENDS_MAX = 7  # of one request over UDP
STUN_STRAYS_MAX = 64  # messages that answer another request, before one gives up
STUN_REASON_CHARS_MAX = 60  # of a server's own words that are told
TURN_ALLOCATE_TRIES_MAX = 3  # from a fresh socket each, when the server says that the last one is in use
TURN_STALE_NONCES_MAX = 3  # that are replaced in one request
TURN_HELD_MAX = 64  # datagrams that came through an allocation and wait to be read
TURN_RELEASE_SECONDS_MAX = 0.3  # to give an allocation back when a run has failed or was cancelled
NAT_TYPE_PACKETS_MAX = 24  # sent to find out the type of this node's NAT
NAT_TYPE_SECONDS_MAX = 2.5
NAT_TYPE_WAIT_SECONDS = 0.25  # for one answer
NTP_DATAGRAM_BYTES_MAX = 1_024  # of one that is read; a reply has 48, more with extension fields
NTP_STRAYS_MAX = 64  # datagrams that answer no question of ours, before one gives up
NTP_RESEND_SECONDS = 2  # without a reply, until the second and last packet of a run
NTP_ROOT_DISTANCE_MS_MAX = 1_500  # that a server may be from true time by its own account; what ntpd takes by default
NTP_CONTRADICTION_MS_MAX = 20  # that the times in a reply may contradict each other: the steps of coarse clocks
MQTT_BYTES_MAX = 16_384  # that a broker may send in one run, what a WebSocket costs included
MQTT_PACKETS_MAX = 256  # the same in packets: each takes some ten microseconds of the event loop
MQTT_TOPIC_CHARS_MAX = 256  # of what a check's topics lie beneath
PING_PACKETS_MAX = 20
PING_INTERVAL_MS = 200  # between the packets of one run, less where the timeout leaves no room
PING_PAYLOAD_BYTES_MIN = 8  # the random token that tells our replies from others'
PING_PAYLOAD_BYTES_MAX = 16_384
INTERVAL_MS_MIN = 1_000
INTERVAL_MS_MAX = 7 * 86_400_000
TIMEOUT_MS_MIN = 100
TIMEOUT_MS_MAX = 300_000
CONFIG_BYTES_MAX = 4 * 1_048_576
CONFIG_SETTLE_SECONDS_MAX = 20  # a change of its files is told though they go on changing
CONFIG_READ_SECONDS_MAX = 30  # for its files to be read anew while the node runs; then the last good one stays
CONFIG_DEPTH_MAX = 16  # arrays and tables in each other
SECRET_FILE_BYTES_MAX = 65_536
SERVER_LIST_BYTES_MAX = 4 * 1_048_576  # one list of servers
SERVER_LIST_ROWS_MAX = 20_000
SERVER_LIST_LINE_BYTES_MAX = 1_024
SERVER_LIST_INTERVAL_MS_DEFAULT = 900_000  # others pay for these servers
SERVER_LISTS_MAX = 32  # in one configuration
SERVER_LIST_REFUSALS_TOLD_MAX = 20  # rows of one configured list that are told of by themselves
HOST_CHARS_MAX = 253  # of a name in the DNS
HTTP_HEADERS_MAX = 64  # that a check sends, or expects
HTTP_HEADER_CHARS_MAX = 8_192

# View
WARNINGS_PER_LOG_MAX = 16  # the newest
TELLINGS_PER_LOG_MAX = 512  # incident and sink, of each log
TELLING_LABELS_MAX = 20  # of an incident, in the event that says that a sink was told; with more it has none
HISTORY_SCRUBBED_ROWS = 500  # looked at for bad bytes in each round of five seconds
HISTORY_SCRUBBED_AGAIN_MS = 60_000  # once all were looked at, the first ones are again after so long
HISTORY_FLOOD_ENTRIES_PER_SECOND = 2_000  # stored; with more, folding waits
HISTORY_WAITED_SECONDS_MAX = 300  # at a stretch
HISTORY_PASSED_OVER_MIN = 2_000  # with fewer entries to fold, all are
HISTORY_LOOKED_BACK_ENTRIES_MAX = (
    10_000  # to find the last results of all checks; a third of a second on a busy machine
)
HISTORY_UNSAVED_MAX = 10_000  # signed rows
GREETED_LOGS_MAX = 4  # of one peer, that it said it was writing
GREETED_SHARED_MS = 300_000  # a key is held to be shared for so long after its owner came back to an earlier log
LOGS_BEHIND_MAX = 32  # entries that peers hold and this node lacks; with more than these, logs are not complete
HISTORY_BEHIND_MAX = 1_000  # entries; with more than these to fold, uptime is not complete
RESULT_FRESH_EXTRA_MS = 30_000  # a result counts for 2 x interval + this
SILENT_AFTER_SUSPECT_MS = 10_000
LATE_OBSERVER_MS = (
    250  # a node whose loop is late by so much (p99) waits half as long again before it calls others silent
)
VERY_LATE_OBSERVER_MS = 1_000  # and one by so much twice as long
INDEPENDENT_NETWORKS_MIN = 3  # in which checks must fail before the vantage is blamed
OVERLOADED_LATE_MS = 5_000  # a run that is so late speaks of an overloaded node
STEADY_MS = (
    600_000  # who was heard for less than this before it vanished is not missed by the rest as a part of the mesh
)
KEY_UNSHARED_MS = (
    60_000  # a member must have been heard for so long before it is believed that its key is in one place only
)
UNDECIDED_MS_MAX = 15_000  # a node that sees half of the mesh, or less, and cannot tell why accuses nobody for so long
PARTITION_VOTES_MS = 120_000  # who vanished with others counts as a vantage that has seen nothing for so long
CLOCK_SKEW_MS_MAX = 5_000  # more is an incident
AWAY_MS_DEFAULT = 600_000  # what a bye without a date means

DECISIONS_PER_LOG_MAX = 512  # the newest
ALERTS_PER_LOG_MAX = 256  # of an Alertmanager, by fingerprint; the newest
ALERT_PATHS_PER_LOG_MAX = 1_024  # by sending node; no fewer than LOGS_MAX

# Decisions and notices
MATCHERS_MAX = 12  # wire: of one decision
MATCHER_CHARS_MAX = 256  # wire: its name, operator and value
DECISION_COMMENT_CHARS_MAX = 512  # wire
DECISION_BYTES_MAX = 12_288  # of the payload of one
DECISION_MS_MAX = 366 * 86_400_000  # a silence, or maintenance that is not configured
DECISIONS_LOOK_SECONDS = 30  # how often a node looks whether its log tells of its configured maintenance
MAINTENANCE_MAX = 64  # in one configuration
ACKNOWLEDGED_SLACK_MS = 60_000  # by so much nodes may differ in when an incident began
ACKNOWLEDGEMENTS_OVER_MAX = 4_096  # that are remembered to be over, as their incident has closed
INCIDENTS_CLOSED_KEPT_MAX = 50  # that closed lately, to be shown
NOTICE_LABELS_MAX = 20  # wire: of an alert
NOTICE_LABEL_CHARS_MAX = 200  # wire: the value of one; longer ones are cut
HOOK_ALERTS_MAX = 1_024  # in one webhook; more are left out and counted
HOOK_NOTICES_BURST = 256  # written at once
HOOK_NOTICES_PER_HOUR = 512
ALERT_RETOLD_MS = 86_400_000  # an alert that goes on is told again this often
ALERT_SHOWN_MS = 2 * 86_400_000  # one of which nothing was told for so long is shown no more
ALERT_PATH_TOLD_MS = 240_000  # that a watchdog came back is told no more often
ALERT_PATH_STOPPED_MS = 900_000  # without a watchdog

# Explaining
EXPLAIN_ENTRIES_MAX = 200_000  # of all logs; with more in the window, each log's newest are told of
EXPLAIN_STEPS_MAX = 5_000  # the newest
EXPLAIN_WINDOW_MS_DEFAULT = 86_400_000
EXPLAIN_LEAD_MS_MIN = 3_600_000  # read before the window, to know the votes at its beginning
EXPLAIN_LEAD_MS_MAX = 7 * 86_400_000
EXPLAIN_PAGE_BYTES = 32_768  # read in one go: about ten milliseconds
EXPLAIN_SECONDS_MAX = 120  # a command waits so long for a node's explanation
ADDRESS_RECENT_LOOKS = 16  # an address that was found so lately is no news
ADDRESS_NEWS_MAX = 4  # changes of address in ADDRESS_NEWS_LOOKS that are told one by one
ADDRESS_NEWS_LOOKS = 64
EXPORT_ENTRIES_MAX = 1_000_000  # read back from an export

# Alerts
UNJUDGED_HELD_MS = (
    30_000  # what was open before a restart is told again after so long; well before an alert ends by itself
)
INCIDENTS_KEPT_MAX = 20_000  # over a restart
NOTE_TEXT_CHARS_MAX = 65_536
LONE_PAGE_HELD_MS = 30_000  # what one vantage alone sees fail, or one interval if that is less
GROUPED_CHECKS_MIN = 3
PARTIAL_TOLD_MS = 600_000
DIFFERING_TOLD_MS = 600_000
BROKEN_TOLD_MS = 60_000
CLOCK_SKEW_TOLD_MS = 60_000
CERTIFICATE_TOLD_MS = 14 * 86_400_000
ALERT_RESEND_MS = 30_000
ALERT_RESOLVED_RESEND_MS = 300_000
ALERT_POST_SECONDS_MAX = 10
ALERT_RETRY_SECONDS_MAX = 15
ALERTS_PER_POST_MAX = 256
NOTIFY_SINKS_MAX = 32  # wire: their digests stand in each part of a plan
NOTIFY_TEMPLATE_CHARS_MAX = 4_096
NOTIFY_TEXT_CHARS_MAX = 16_384  # of a title or text that is sent
NOTIFY_SECONDS_MAX = 20  # one message to one sink
NOTIFY_THREADS_MAX = 8  # messages through Apprise at a time; those given up count until they end
NOTIFY_AT_ONCE_MAX = 4  # messages on their way to one sink
NOTIFY_RANK_MS = 15_000  # by so much each member waits longer than the one before it
NOTIFY_LEASE_MS = 60_000  # wire: the first lease of a message; each one after it lasts twice as long
NOTIFY_LEASE_MS_MAX = 900_000  # wire
NOTIFY_LEASE_MARGIN_MS = 25_000  # before its end no attempt begins: more than NOTIFY_SECONDS_MAX
NOTIFY_RETRY_MS_MIN = 2_000  # after a failure; twice as much after each one more
NOTIFY_RETRY_MS_MAX = 60_000
NOTIFY_DISAGREE_MS = 120_000  # so long a node that sees it otherwise waits before it contradicts what a sink was told
NOTIFY_HOLD_MS_MIN = 10_000  # after a start, until a node tells anything: others may have
NOTIFY_HOLD_MS_MAX = 60_000  # the same, while its logs are not complete
NOTIFY_CLOSED_MAX = 1_024  # incidents whose end is remembered, with their labels
NOTIFY_REPEAT_MS_MIN = 60_000
NOTIFY_REPEAT_MS_MAX = 30 * 86_400_000
HEARTBEAT_SECONDS = 60  # between two fetches of heartbeat_url
HEARTBEAT_SECONDS_MAX = 10  # one fetch

# API
SOCKET_PATH_BYTES_MAX = 107  # the kernel's sun_path, less its end
API_SHUTDOWN_SECONDS = 1
API_CLIENT_SECONDS_MAX = 5
HEALTH_SECONDS_MAX = 4  # for a node to say that it is well; less than what asks again and again allows it
HEALTH_ANSWER_BYTES_MAX = 4_096  # of what a node says of itself there
API_ANSWER_BYTES_MAX = 256 * 1_048_576  # what a command takes from a node
WATCH_SECONDS_MIN = 0.5  # between two looks of a command that watches
WATCH_SECONDS_MAX = 3_600
API_LINE_BYTES_MAX = 65_536  # of an answer that comes line by line
API_BODY_BYTES_MAX = 1_048_576  # of a request
API_BODY_SECONDS_MAX = 10
API_SEND_SECONDS_MAX = 10  # a client that takes no more bytes for so long is left
API_CONNECTIONS_MAX = 256
PUBLIC_CONNECTIONS_MAX = 128  # of strangers
PUBLIC_CONNECTIONS_PER_CLIENT_MAX = (
    16  # of one address, or of one /64 of IPv6; loopback, where a proxy may be, has no such bound
)
PUBLIC_HEAD_BYTES_MAX = 8_192  # of the line and headers of a stranger's request, while they are not complete
PUBLIC_ANSWER_SECONDS_MAX = 60  # until a stranger has all of an answer
PUBLIC_TURNS_PER_SECOND_MAX = 200  # requests of all strangers; others wait for their turn
PUBLIC_TURNS_BURST = 20
PUBLIC_PIECE_BYTES = 65_536  # of an answer, in memory once for each stranger who reads it
PUBLIC_TOLD_AGAIN_MS = 10_000  # how old what strangers are told may be, besides the ranking
PUBLIC_PAGE_CHECKS_MAX = 1_000
PUBLIC_PAGE_SERVERS_MAX = 50  # of each list on the page
TOKENS_MAX = 256
TOKENS_BYTES_MAX = 262_144
TOKEN_CHARS_MIN = 16

# Diagnostics
LOG_LINES_PER_MINUTE_MAX = 10  # of one kind
LOG_KINDS_MAX = 512
LOG_MESSAGE_CHARS_MAX = 2_048
LATENESS_SAMPLES_MAX = 600
DOCTOR_CHECK_SECONDS_MAX = 3

# Under a service manager
RUNNER_TURN_MS_MAX = 15_000  # between two turns of the scheduler, whatever is due
PULSE_LATE_MS_MAX = 10_000  # a loop that is later than this hangs; a network that died is taken apart in less
WATCHDOG_AGAIN_SECONDS = 1  # after a look that found a hang; it may have been a pause of the whole machine
START_EXTENDED_SECONDS = 120  # a start may go on for so long after each sign that it advances
START_BYTES_PER_SECOND = 1_000_000  # of a store that is copied and written anew, on a slow disk
START_SIGN_SECONDS_MIN = 5  # between two such signs
END_AGAIN_SECONDS_MIN = 1  # after SIGTERM or SIGINT, until another one ends a node without its farewell
STATUS_LOOK_SECONDS = 15  # how often the line of status may change

# Demo
DEMO_PORT_TRIES_MAX = 100
DEMO_REQUEST_SECONDS_MAX = 5  # that a target of the demo keeps a client
DEMO_POST_BYTES_MAX = 1_048_576
DEMO_STOP_SECONDS_MAX = 6  # for nodes to end in good order, before they are killed
DEMO_LOG_TAIL_BYTES = 2_000  # of a node's diagnostic log, told when it does not do what it should
SERVERS_RANKED_AGAIN_MS = 60_000  # how old the ranking of public servers may be that is told
