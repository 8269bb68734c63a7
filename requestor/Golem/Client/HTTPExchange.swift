import NIOCore
import NIOHTTP1
import NIOPosix
import Waiting

/// One HTTP/1.1 call of the daemon, on a connection of its own.
///
/// Most calls are long polls, which hold a connection each anyway; those that are not are few a second, and a new
/// connection to a daemon on the same machine costs a tenth of a millisecond. A kept one could be closed by the daemon
/// in the moment it is used, and whether the call was done then nobody knows.
struct HTTPExchange: Sendable {
    var address: DaemonAddress
    /// Path and query.
    var target: String
    var method: HTTPMethod = .GET
    var headers = HTTPHeaders()
    /// nil: none, not even an empty one.
    var body: ByteBuffer?
    var connectTimeout: TimeAmount = .seconds(5)
    /// How long the beginning of the answer may take; nil: as long as the caller's task lives.
    var headTimeout: TimeAmount?

    /// What comes behind the head of an answer, piece by piece.
    struct Body {
        fileprivate var parts: Parts.AsyncIterator
        private var ended = false

        fileprivate init(_ parts: Parts.AsyncIterator) {
            self.parts = parts
        }

        /// The next piece; nil at the end. Throws where the connection closes before it.
        mutating func next() async throws -> ByteBuffer? {
            while !ended {
                switch try await parts.next() {
                case .body(let piece)?: return piece
                case .end?: ended = true
                case .head?: continue
                case nil:
                    try Task.checkCancellation()
                    throw ChannelError.eof
                }
            }
            return nil
        }

        /// All that is left. Throws `malformed` where it is more than the limit.
        mutating func collect(upTo limit: Int) async throws -> [UInt8] {
            var bytes: [UInt8] = []
            while let piece = try await next() {
                guard piece.readableBytes <= limit - bytes.count else {
                    throw GolemError(.malformed, "the daemon's answer is longer than \(limit) bytes")
                }
                bytes += piece.readableBytesView
            }
            return bytes
        }
    }

    fileprivate typealias Connection = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>
    fileprivate typealias Parts = NIOAsyncChannelInboundStream<HTTPClientResponsePart>

    /// Sends the call and hands the answer to `receive`; the connection is closed when that returns or throws, and when
    /// the task is cancelled.
    func perform<Result: Sendable>(
        _ receive: @Sendable (HTTPResponseHead, inout Body) async throws -> Result
    ) async throws -> Result {
        let (connection, refusal) = try await address.connect(timeout: connectTimeout) { channel in
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            return try Connection(wrappingChannelSynchronously: channel)
        }
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: address.path + target, headers: headers)
        head.headers.replaceOrAdd(name: "Host", value: address.authority)
        head.headers.replaceOrAdd(name: "Connection", value: "close")
        if let body { head.headers.replaceOrAdd(name: "Content-Length", value: String(body.readableBytes)) }
        var request: [HTTPClientRequestPart] = [.head(head)]
        if let body { request.append(.body(.byteBuffer(body))) }
        request.append(.end(nil))
        do {
            return try await connection.executeThenClose { inbound, outbound in
                let channel = connection.channel
                let overdue = headTimeout.map { channel.eventLoop.scheduleTask(in: $0) { channel.close(promise: nil) } }
                defer { overdue?.cancel() }
                try await outbound.write(contentsOf: request)
                var parts = inbound.makeAsyncIterator()
                while let part = try await parts.next() {
                    guard case .head(let head) = part else { continue }
                    overdue?.cancel()
                    var body = Body(parts)
                    return try await receive(head, &body)
                }
                try Task.checkCancellation()
                throw ChannelError.eof
            }
        } catch {
            throw refusal.value ?? error
        }
    }
}

extension DaemonAddress {
    /// Connects, with TLS where the address says so; `prepare` puts the handlers for what is spoken into place.
    /// - Returns: what `prepare` made; why there is no TLS, as soon as that is known.
    func connect<Output: Sendable>(
        timeout: TimeAmount, _ prepare: @Sendable @escaping (any Channel) throws -> Output
    ) async throws -> (Output, refusal: OneShot<GolemError>) {
        let (scheme, host) = (scheme, host)
        let refusal = OneShot<GolemError>()
        let output = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(timeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    if scheme == .https {
                        try channel.pipeline.syncOperations.addHandler(SecureChannel(host: host, refusal: refusal))
                    }
                    return try prepare(channel)
                }
            }
        return (output, refusal)
    }
}
