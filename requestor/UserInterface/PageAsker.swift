import Hummingbird
import Logging
import NIOCore
import Synchronization

/// Asks the page without a network, as its tests do.
package struct PageAsker: Sendable {
    private let responder: any HTTPResponder<PageContext>

    package init(_ application: DeMLApplication, token: String, session: String, port: Int) {
        let door = Door(host: "127.0.0.1", token: token, session: session)
        door.opened(on: port)
        responder = UserInterface.router(application, door).buildResponder()
    }

    /// The whole answer; a stream of events is read to its end.
    package func respond(
        _ head: HTTPRequest, body: ByteBuffer
    ) async throws -> (status: Int, headers: HTTPFields, body: ByteBuffer) {
        let context = PageContext(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let response = try await responder.respond(
            to: Request(head: head, body: RequestBody(buffer: body)), context: context)
        let collector = Collector()
        try await response.body.write(collector)
        return (response.status.code, response.headers, collector.buffer.withLock { $0 })
    }

    private final class Collector: ResponseBodyWriter, Sendable {
        let buffer = Mutex(ByteBuffer())

        func write(_ buffer: ByteBuffer) async throws {
            self.buffer.withLock { whole in _ = whole.writeImmutableBuffer(buffer) }
        }

        consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
    }
}
