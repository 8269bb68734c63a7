import Foundation
import Hummingbird
import Logging
import NIOCore
import Synchronization

/// Asks the page without a network, as its tests do.
package struct PageAsker: Sendable {
    private let responder: any HTTPResponder<PageContext>
    private let sweep: UploadSweep

    package init(_ application: DeMLApplication, token: String, session: String, port: Int) {
        let door = Door(host: "127.0.0.1", token: token, session: session)
        door.opened(on: port)
        let (library, uploads) = (RunLibrary(application), UserInterface.uploads(of: application))
        responder = UserInterface.router(application, door, library, uploads).buildResponder()
        sweep = UserInterface.sweep(of: uploads, library)
    }

    /// Takes away the uploads that nobody needs at `now`; their names.
    package func sweepUploads(now: Date) throws -> [String] { try sweep.remove(now: now) }

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
