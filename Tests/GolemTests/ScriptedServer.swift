import Golem
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket

/// What came in.
struct ScriptedRequest: Sendable {
    var method: String
    /// Without the query.
    var path: String
    var query: [String: String]
    var headers: [String: String]
    var body: JSON
    /// `POST /path`.
    var line: String { "\(method) \(path)" }
}

/// What goes out, well-behaved or not.
enum ScriptedReply: Sendable {
    case answer(Int, String)
    /// With the time that the server's clock shows.
    case dated(Int, String, Timestamp)
    /// The connection is closed without an answer.
    case hangUp
    /// A length is promised, half of it sent, and the connection closed.
    case torn
    /// Events of a stream, left open.
    case stream([String])

    static func json(_ value: JSON, status: Int = 200) -> ScriptedReply { .answer(status, value.description) }
}

/// An HTTP server in this process that answers as told, odd answers included; WebSockets come out as ``Socket``s.
final class ScriptedServer: Sendable {
    typealias Script = @Sendable (ScriptedRequest) async -> ScriptedReply
    typealias Socket = NIOAsyncChannel<WebSocketFrame, WebSocketFrame>

    let url: String
    /// Sockets as they are opened, with their paths.
    let sockets: AsyncStream<(String, Socket)>
    private let channel: any Channel

    init(host: String = "127.0.0.1", _ script: @escaping Script) async throws {
        let (sockets, opened) = AsyncStream<(String, Socket)>.makeStream()
        self.sockets = sockets
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 64)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                let upgrader = NIOWebSocketServerUpgrader(
                    maxFrameSize: 1 << 24,
                    shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(HTTPHeaders()) },
                    upgradePipelineHandler: { channel, head in
                        channel.eventLoop.makeCompletedFuture {
                            opened.yield((head.uri, try Socket(wrappingChannelSynchronously: channel)))
                        }
                    })
                let handler = Handler(script)
                return channel.pipeline.configureHTTPServerPipeline(
                    withServerUpgrade: (
                        upgraders: [upgrader],
                        completionHandler: { context in
                            context.pipeline.syncOperations.removeHandler(handler, promise: nil)
                        }
                    )
                ).flatMapThrowing { try channel.pipeline.syncOperations.addHandler(handler) }
            }
            .bind(host: host, port: 0).get()
        url = "http://\(host.contains(":") ? "[\(host)]" : host):\(channel.localAddress?.port ?? 0)"
    }

    func stop() async {
        try? await channel.close()
    }

    /// Runs a server and a client of it.
    static func with(
        _ script: @escaping Script, _ body: (GolemClient, ScriptedServer) async throws -> Void
    ) async throws {
        let server = try await ScriptedServer(script)
        do {
            try await GolemClient.with(url: server.url, appKey: "key") { try await body($0, server) }
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    /// Unchecked: it is touched on its channel's event loop only.
    private final class Handler: ChannelInboundHandler, RemovableChannelHandler, @unchecked Sendable {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let script: Script
        private var head: HTTPRequestHead?
        private var body = ByteBuffer()

        init(_ script: @escaping Script) { self.script = script }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                body.clear()
            case .body(var part): body.writeBuffer(&part)
            case .end:
                guard let head else { return }
                let request = Handler.request(head, Array(body.readableBytesView))
                let script = script
                let channel = context.channel
                let reply = context.eventLoop.makeFutureWithTask { await script(request) }
                reply.whenSuccess { Handler.send($0, on: channel) }
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private static func request(_ head: HTTPRequestHead, _ body: [UInt8]) -> ScriptedRequest {
            let parts = head.uri.split(separator: "?", maxSplits: 1).map(String.init)
            var query: [String: String] = [:]
            for item in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
                let pair = item.split(separator: "=", maxSplits: 1).map(String.init)
                query[pair[0]] = pair.count > 1 ? unescaped(pair[1]) : ""
            }
            var headers: [String: String] = [:]
            for (name, value) in head.headers { headers[name.lowercased()] = value }
            return ScriptedRequest(
                method: head.method.rawValue, path: parts[0], query: query, headers: headers,
                body: JSON(parsing: body) ?? .null)
        }

        private static func unescaped(_ text: String) -> String {
            var out: [UInt8] = []
            var bytes = Array(text.utf8)[...]
            while let byte = bytes.popFirst() {
                if byte == UInt8(ascii: "%"),
                    let code = UInt8(String(decoding: bytes.prefix(2), as: UTF8.self), radix: 16)
                {
                    out.append(code)
                    bytes = bytes.dropFirst(2)
                } else {
                    out.append(byte)
                }
            }
            return String(decoding: out, as: UTF8.self)
        }

        private static func send(_ reply: ScriptedReply, on channel: any Channel) {
            func head(_ status: Int, _ length: Int?, date: Timestamp? = nil) -> HTTPServerResponsePart {
                var headers = HTTPHeaders()
                if let date { headers.add(name: "Date", value: httpDate(date)) }
                if let length { headers.add(name: "Content-Length", value: String(length)) }
                return .head(HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers))
            }
            func write(_ head: HTTPServerResponsePart, _ text: String) {
                channel.write(head, promise: nil)
                channel.write(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: text))), promise: nil)
                channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
            }
            switch reply {
            case .answer(let status, let text): write(head(status, text.utf8.count), text)
            case .dated(let status, let text, let date): write(head(status, text.utf8.count, date: date), text)
            case .hangUp:
                channel.close(promise: nil)
            case .torn:
                channel.write(head(200, 1000), promise: nil)
                channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: "[{")))).whenComplete {
                    _ in
                    channel.close(promise: nil)
                }
            case .stream(let events):
                channel.write(head(200, nil), promise: nil)
                for event in events {
                    let text = ":ping\n\nevent: runtime\ndata: \(event)\nid: 1\n\n"
                    channel.writeAndFlush(
                        HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: text))), promise: nil)
                }
            }
        }
    }
}

/// As an HTTP server writes it.
func httpDate(_ time: Timestamp) -> String {
    // Of 2026-11-30T13:15:57…Z; the day of the week nobody reads.
    let text = time.description
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    let month = months[(Int(text.dropFirst(5).prefix(2)) ?? 1) - 1]
    return "Mon, \(text.dropFirst(8).prefix(2)) \(month) \(text.prefix(4)) \(text.dropFirst(11).prefix(8)) GMT"
}
