import NIOCore
import Waiting

/// TLS between a channel's socket and the handlers behind it, which see plain bytes. They learn of the connection when the
/// handshake is done; what they write before is kept until then.
final class SecureChannel: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let connection: OpenSSL.Connection
    /// Set when the other side is not trusted, or does not speak TLS: what is behind this sees a closed channel only.
    private let refusal: OneShot<GolemError>
    private var isReady = false
    private var hasEnded = false
    private var waiting: [(ByteBuffer, EventLoopPromise<Void>?)] = []

    init(host: String, refusal: OneShot<GolemError>) throws {
        self.refusal = refusal
        connection = try OpenSSL.Connection(try OpenSSL.shared(), host: host)
    }

    func channelActive(context: ChannelHandlerContext) { advance(context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        unwrapInboundIn(data).withUnsafeReadableBytes { connection.received($0) }
        advance(context)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let buffer = unwrapOutboundIn(data)
        guard isReady else { return waiting.append((buffer, promise)) }
        do {
            try buffer.withUnsafeReadableBytes { try connection.write($0) }
            send(context, promise)
        } catch {
            promise?.fail(error)
            fail(context, error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(ChannelError.eof)
        context.fireChannelInactive()
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if isReady, !hasEnded {
            hasEnded = true
            connection.close()
            send(context, nil)
            context.flush()
        }
        context.close(mode: mode, promise: promise)
    }

    /// Does what can be done with what has come.
    private func advance(_ context: ChannelHandlerContext) {
        do {
            if !isReady {
                isReady = try connection.handshake()
                send(context, nil)
                context.flush()
                guard isReady else { return }
                context.fireChannelActive()
                let kept = waiting
                waiting = []
                for (buffer, promise) in kept {
                    write(context: context, data: wrapOutboundOut(buffer), promise: promise)
                }
                context.flush()
            }
            try read(context)
        } catch {
            fail(context, error)
        }
    }

    private func read(_ context: ChannelHandlerContext) throws {
        var hasRead = false
        while !hasEnded {
            switch try connection.read() {
            case .bytes(let bytes):
                hasRead = true
                context.fireChannelRead(wrapInboundOut(ByteBuffer(bytes: bytes)))
                continue
            case .nothingYet: break
            case .end:
                hasEnded = true
                context.close(promise: nil)
            }
            break
        }
        if hasRead { context.fireChannelReadComplete() }
        send(context, nil)
        context.flush()
    }

    private func send(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        let bytes = connection.toSend()
        if bytes.isEmpty, promise == nil { return }
        context.write(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: promise)
    }

    private func fail(_ context: ChannelHandlerContext, _ error: any Error) {
        hasEnded = true
        if let error = error as? GolemError { refusal.set(error) }
        // An alert says to the other side why.
        send(context, nil)
        context.flush()
        context.fireErrorCaught(error)
        end(error)
        context.close(promise: nil)
    }

    private func end(_ error: any Error) {
        let kept = waiting
        waiting = []
        for (_, promise) in kept { promise?.fail(error) }
    }
}
