import ForeignText
import NIOCore
import NIOPosix
import NIOWebSocket

/// One WebSocket of one bus service: requests come in, answers go out, matched by id.
struct ServiceSocket: Sendable {
    /// The daemon closes the socket (1011) on a frame of 64 KiB; a little is kept for the header.
    static let frameLimit = 65_000

    typealias Channel = NIOAsyncChannel<WebSocketFrame, WebSocketFrame>

    let channel: Channel

    /// Connects and upgrades. `protocol`: of the WebSocket; `nil` asks for none.
    static func connect(
        address: DaemonAddress, path: String, appKey: String, protocol name: String? = "gsb+flexbuffers",
        connectTimeout: TimeAmount = .seconds(5)
    ) async throws -> ServiceSocket {
        let ((channel, upgraded), refusal) = try await address.connect(timeout: connectTimeout) { channel in
            let promise = channel.eventLoop.makePromise(of: Channel.self)
            let request = """
                GET \(address.path + path) HTTP/1.1\r
                Host: \(address.authority)\r
                Authorization: Bearer \(appKey)\r
                Connection: Upgrade\r
                Upgrade: websocket\r
                Sec-WebSocket-Version: 13\r
                Sec-WebSocket-Key: \(SocketUpgrade.randomKey())\r
                \(name.map { "Sec-WebSocket-Protocol: \($0)\r\n" } ?? "")\r

                """
            try channel.pipeline.syncOperations.addHandler(SocketUpgrade(request: request, upgraded: promise))
            return (channel, promise.futureResult)
        }
        let timeout = channel.eventLoop.scheduleTask(in: connectTimeout) { channel.close(promise: nil) }
        defer { timeout.cancel() }
        do {
            return ServiceSocket(channel: try await upgraded.get())
        } catch var error as GolemError {
            error = refusal.value ?? error
            error.request = "GET \(path) (WebSocket)"
            throw error.at(address.description)
        }
    }

    /// Answers requests until the daemon closes the socket or the task is cancelled.
    ///
    /// `answer` gets the component and the payload; what it throws goes back as the error of that request.
    func serve(_ answer: @Sendable (String, FlexValue) async throws -> FlexValue) async throws {
        try await channel.executeThenClose { inbound, outbound in
            for try await received in inbound {
                switch received.opcode {
                case .binary:
                    let request = try FlexValue(decoding: Array(received.unmaskedData.readableBytesView))
                    guard let id = request["id"]?.string, let component = request["component"]?.string else {
                        throw GolemError(.malformed, "a request to a bus service has no id or no component")
                    }
                    let reply = await encodedReply(id: id, component, request["payload"] ?? .null, answer)
                    try await outbound.write(frame(.binary, reply))
                case .ping:
                    try await outbound.write(frame(.pong, Array(received.unmaskedData.readableBytesView)))
                case .connectionClose:
                    try await outbound.write(frame(.connectionClose, []))
                    return
                default:
                    continue
                }
            }
        }
    }

    private func encodedReply(
        id: String, _ component: String, _ payload: FlexValue,
        _ answer: @Sendable (String, FlexValue) async throws -> FlexValue
    ) async -> [UInt8] {
        func failure(_ kind: String, _ text: String) -> [UInt8] {
            FlexValue.map(["id": .string(id), "error": .map([kind: .string(text)])]).encoded()
        }
        do {
            let encoded = FlexValue.map(["id": .string(id), "payload": try await answer(component, payload)]).encoded()
            guard encoded.count <= ServiceSocket.frameLimit else {
                return failure("InternalError", "an answer of \(encoded.count) bytes does not fit a frame")
            }
            return encoded
        } catch let refusal as ServiceRefusal {
            guard let text = refusal.text else {
                return FlexValue.map(["id": .string(id), "error": .string(refusal.kind)]).encoded()
            }
            return failure(refusal.kind, text)
        } catch {
            return failure("InternalError", "\(error)")
        }
    }

    private func frame(_ opcode: WebSocketOpcode, _ bytes: [UInt8]) -> WebSocketFrame {
        WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: ByteBuffer(bytes: bytes))
    }
}

/// An error that goes back over the bus: `ReadError`, `WriteError`, `InternalError` with a text, `IntegrityError` alone.
package struct ServiceRefusal: Error {
    package var kind: String
    package var text: String?
}

/// Asks for a WebSocket and puts its codec in place in the very event that brings the answer.
///
/// The daemon sends requests that it held back right behind its answer, often in one packet. With NIO's upgrader, which
/// changes the pipeline in several steps, such requests were lost at times (OddAnswerTests.serving shows it).
private final class SocketUpgrade: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let request: String
    private let upgraded: EventLoopPromise<ServiceSocket.Channel>
    private var received = ByteBuffer()
    private var isDone = false

    init(request: String, upgraded: EventLoopPromise<ServiceSocket.Channel>) {
        self.request = request
        self.upgraded = upgraded
    }

    /// 16 random bytes in base64 (RFC 6455, section 4.1).
    static func randomKey() -> String {
        var text = base64URL((0..<16).map { _ in UInt8.random(in: .min ... .max) })
        text = String(text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
        return text + "=="
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(string: request)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isDone {
            context.fireChannelRead(data)
            return
        }
        var part = unwrapInboundIn(data)
        received.writeBuffer(&part)
        let bytes = received.readableBytesView
        guard let end = headLength(bytes) else {
            if bytes.count > 65_536 { fail(context, "its answer has no end") }
            return
        }
        let head = String(decoding: bytes.prefix(end), as: UTF8.self)
        guard head.hasPrefix("HTTP/1.1 101") else {
            fail(context, ForeignText.line(head.prefix { $0 != "\r" && $0 != "\r\n" }))
            return
        }
        received.moveReaderIndex(forwardBy: end)
        isDone = true
        do {
            let pipeline = context.pipeline.syncOperations
            try pipeline.addHandler(WebSocketFrameEncoder())
            try pipeline.addHandler(ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: 16 << 20)))
            upgraded.succeed(try ServiceSocket.Channel(wrappingChannelSynchronously: context.channel))
        } catch {
            upgraded.fail(error)
            context.close(promise: nil)
            return
        }
        if received.readableBytes > 0 {
            context.fireChannelRead(wrapInboundOut(received))
            context.fireChannelReadComplete()
        }
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    /// The number of bytes of an HTTP head, its empty line included.
    private func headLength(_ bytes: ByteBufferView) -> Int? {
        let bytes = Array(bytes.prefix(65_537))
        guard bytes.count >= 4 else { return nil }
        for index in 0...bytes.count - 4
        where bytes[index] == 13 && bytes[index + 1] == 10 && bytes[index + 2] == 13 && bytes[index + 3] == 10 {
            return index + 4
        }
        return nil
    }

    private func fail(_ context: ChannelHandlerContext, _ answer: String) {
        isDone = true
        upgraded.fail(GolemError(.daemon, "the daemon refused a WebSocket", answer: answer))
        context.close(promise: nil)
    }

    /// Also of a channel that was never connected.
    func handlerRemoved(context: ChannelHandlerContext) {
        if !isDone { fail(context, "the connection was closed") }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !isDone { fail(context, "the connection was closed") }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !isDone { fail(context, "\(error)") }
        context.close(promise: nil)
    }
}
