import Golem
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

/// Against a server of this process that answers by the path that is asked for.
@Suite(.timeLimit(.minutes(1))) struct WebRequestTests {
    private func withServer(_ body: (String) async throws -> Void) async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.pipeline.configureHTTPServerPipeline().flatMapThrowing {
                    try channel.pipeline.syncOperations.addHandler(Answers())
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            try await body("http://127.0.0.1:\(server.localAddress?.port ?? 0)")
        } catch {
            try? await server.close()
            throw error
        }
        try await server.close()
    }

    @Test func statusAndBodyComeBack() async throws {
        try await withServer { url in
            let good = try await WebRequest.send("GET", "\(url)/text", maximumBytes: 100)
            #expect(good.status == 200 && good.body == Array("GET /text".utf8))
            let missing = try await WebRequest.send("GET", "\(url)/missing?count=true", maximumBytes: 100)
            #expect(missing.status == 404 && missing.body == Array("GET /missing?count=true".utf8))
            let head = try await WebRequest.send("HEAD", "\(url)/text", maximumBytes: 0)
            #expect(head.status == 200 && head.body == [])
            let moved = try await WebRequest.send("GET", "\(url)/moved", maximumBytes: 100)
            #expect(moved.status == 200 && moved.body == Array("GET /text".utf8))
        }
    }

    @Test func anAnswerWithoutEndIsCut() async throws {
        try await withServer { url in
            let error = await #expect(throws: GolemError.self) {
                _ = try await WebRequest.send("GET", "\(url)/endless", maximumBytes: 10_000)
            }
            #expect(error?.code == .malformed)
        }
    }

    @Test func whatCannotBeReachedIsSaid() async throws {
        try await withServer { url in
            let torn = await #expect(throws: GolemError.self) {
                _ = try await WebRequest.send("GET", "\(url)/torn", maximumBytes: 100)
            }
            #expect(torn?.code == .io && torn?.place == "\(url)/torn")
        }
        for address in ["", "ftp://host/file", "http://", "nonsense"] {
            let error = await #expect(throws: GolemError.self) {
                _ = try await WebRequest.send("GET", address, maximumBytes: 100)
            }
            #expect(error?.code == .usage, "\(address)")
        }
    }

    @Test func aCancelledTaskEndsItsRequest() async throws {
        try await withServer { url in
            let request = Task { try await WebRequest.send("GET", "\(url)/silent", maximumBytes: 100) }
            request.cancel()
            await #expect(throws: CancellationError.self) { _ = try await request.value }
        }
    }

    private final class Answers: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard case .head(let request) = unwrapInboundIn(data) else { return }
            let path = request.uri
            if path == "/silent" { return }
            var head = HTTPResponseHead(version: .http1_1, status: path.hasPrefix("/missing") ? .notFound : .ok)
            let text = "\(request.method.rawValue) \(path)"
            if path == "/moved" {
                head.status = .found
                head.headers.add(name: "Location", value: "/text")
            }
            let length = path == "/torn" ? 1000 : path == "/endless" ? 1 << 20 : text.utf8.count
            head.headers.add(name: "Content-Length", value: String(length))
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            let body = path == "/endless" ? ByteBuffer(repeating: 7, count: 1 << 20) : ByteBuffer(string: text)
            if request.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
            if path == "/torn" {
                context.flush()
                context.close(promise: nil)
            } else {
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }
}
