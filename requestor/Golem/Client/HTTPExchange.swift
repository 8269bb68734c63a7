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

    /// The parts of the request.
    fileprivate func parts() -> [HTTPClientRequestPart] {
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: address.path + target, headers: headers)
        head.headers.replaceOrAdd(name: "Host", value: address.authority)
        head.headers.replaceOrAdd(name: "Connection", value: "close")
        if let body { head.headers.replaceOrAdd(name: "Content-Length", value: String(body.readableBytes)) }
        return [.head(head)] + (body.map { [.body(.byteBuffer($0))] } ?? []) + [.end(nil)]
    }

    /// Sends the call and waits for the whole answer, which is as a rule a few bytes: with a thousand machines, what is spent on
    /// each call counts, so there are no tasks and no streams for it.
    /// - Throws: ``DeadlineExceeded`` where it has not come within the limit; `malformed` where it is longer than allowed.
    func answer(within limit: Duration, maximumBytes: Int) async throws -> (head: HTTPResponseHead, body: ByteBuffer) {
        let (answer, refusal) = try await address.connect(timeout: connectTimeout) { channel in
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            let promise = channel.eventLoop.makePromise(of: (head: HTTPResponseHead, body: ByteBuffer).self)
            try channel.pipeline.syncOperations.addHandler(
                WholeAnswer(request: parts(), promise, within: limit, maximumBytes: maximumBytes))
            return (channel, promise.futureResult)
        }
        do {
            return try await withTaskCancellationHandler {
                try await answer.1.get()
            } onCancel: {
                answer.0.close(promise: nil)
            }
        } catch {
            throw refusal.value ?? error
        }
    }

    /// Sends the call and hands the answer to `receive`; the connection is closed when that returns or throws, and when
    /// the task is cancelled.
    func perform<Result: Sendable>(
        _ receive: @Sendable (HTTPResponseHead, inout Body) async throws -> Result
    ) async throws -> Result {
        let (connection, refusal) = try await address.connect(timeout: connectTimeout) { channel in
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            return try Connection(wrappingChannelSynchronously: channel)
        }
        do {
            return try await connection.executeThenClose { inbound, outbound in
                let channel = connection.channel
                let overdue = headTimeout.map { channel.eventLoop.scheduleTask(in: $0) { channel.close(promise: nil) } }
                defer { overdue?.cancel() }
                try await outbound.write(contentsOf: parts())
                var answer = inbound.makeAsyncIterator()
                while let part = try await answer.next() {
                    guard case .head(let head) = part else { continue }
                    overdue?.cancel()
                    var body = Body(answer)
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

/// Sends a request as soon as there is a connection, and keeps its promise with the whole answer or the first error.
private final class WholeAnswer: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart
    typealias Promise = EventLoopPromise<(head: HTTPResponseHead, body: ByteBuffer)>

    private let request: [HTTPClientRequestPart]
    private var promise: Promise?
    private let limit: Duration
    private let maximumBytes: Int
    private var head: HTTPResponseHead?
    private var body = ByteBuffer()
    private var overdue: Scheduled<Void>?

    init(request: [HTTPClientRequestPart], _ promise: Promise, within limit: Duration, maximumBytes: Int) {
        self.request = request
        self.promise = promise
        self.limit = limit
        self.maximumBytes = maximumBytes
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        overdue = context.eventLoop.scheduleTask(in: TimeAmount(limit)) {
            let (handler, context) = bound.value
            handler.end(context, .failure(DeadlineExceeded()))
        }
    }

    func channelActive(context: ChannelHandlerContext) {
        for part in request { context.write(wrapOutboundOut(part), promise: nil) }
        context.flush()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = self.head ?? head
        case .body(var piece):
            guard piece.readableBytes <= maximumBytes - body.readableBytes else {
                let error = GolemError(.malformed, "the daemon's answer is longer than \(maximumBytes) bytes")
                return end(context, .failure(error))
            }
            if body.readableBytes == 0 { body = piece } else { body.writeBuffer(&piece) }
        case .end:
            end(context, head.map { .success(($0, body)) } ?? .failure(ChannelError.eof))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(context, .failure(ChannelError.eof))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(context, .failure(error)) }

    /// Also of a channel that was never connected.
    func handlerRemoved(context: ChannelHandlerContext) { end(context, .failure(ChannelError.eof)) }

    private func end(
        _ context: ChannelHandlerContext, _ result: Result<(head: HTTPResponseHead, body: ByteBuffer), any Error>
    ) {
        guard let promise else { return }
        self.promise = nil
        overdue?.cancel()
        promise.completeWith(result)
        context.close(promise: nil)
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
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(timeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        let initialize: @Sendable (any Channel) -> EventLoopFuture<Output> = { channel in
            channel.eventLoop.makeCompletedFuture {
                if scheme == .https {
                    try channel.pipeline.syncOperations.addHandler(SecureChannel(host: host, refusal: refusal))
                }
                return try prepare(channel)
            }
        }
        // A number need not be looked up, which would be done on a thread of its own.
        if let number = try? SocketAddress(ipAddress: host, port: port) {
            return (try await bootstrap.connect(to: number, channelInitializer: initialize), refusal)
        }
        return (try await bootstrap.connect(host: host, port: port, channelInitializer: initialize), refusal)
    }
}
