import Tracing
import Waiting

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Something to be sent to providers.
public enum FileSource: Sendable {
    case file(String)
    case bytes([UInt8])
}

/// When a file that is offered or taken is really served.
///
/// Of the files of a batch, one is on its way at a time; those of the others need no connection yet, or no more. Their
/// addresses are bound all the while, and what is asked of one that is not open yet the daemon keeps.
package struct TransferWindow: Sendable {
    let opened = OneShot<Void>()
    let closed = OneShot<Void>()

    package init() {}

    /// One that is open from the beginning.
    static var always: TransferWindow {
        let window = TransferWindow()
        window.open()
        return window
    }

    package func open() { opened.set(()) }

    /// Whether the file is served now.
    package var isOpen: Bool { opened.value != nil && closed.value == nil }

    /// For good: nothing more is asked of this file.
    package func close() { closed.set(()) }
}

extension GolemClient {
    /// Offers a file to providers for as long as `body` runs.
    ///
    /// The file is served through the daemon's bus, without the `gftp` program. Any number of providers may fetch it
    /// at the same time, piece by piece in any order. If the daemon restarts, serving goes on afterwards.
    ///
    /// - Parameters:
    ///   - onProgress: how far they are who fetch it, at most five times a second. With several at a time: the foremost.
    ///   - body: gets the `gftp://…` address, for a transfer's `from`.
    public func serving<Result: Sendable>(
        _ source: FileSource, onProgress: (@Sendable (TransferProgress) -> Void)? = nil,
        _ body: @Sendable @escaping (_ url: String) async throws -> Result
    ) async throws -> Result {
        try await serving(source, .always, onProgress: onProgress, body)
    }

    /// The same, within the window only.
    package func serving<Result: Sendable>(
        _ source: FileSource, _ window: TransferWindow, onProgress: (@Sendable (TransferProgress) -> Void)? = nil,
        _ body: @Sendable @escaping (_ url: String) async throws -> Result
    ) async throws -> Result {
        let reader = try SourceReader(source)
        let meter = onProgress.map { TransferMeter(total: reader.size, $0) }
        return try await withService(
            components: ["GetMetadata", "GetChunk"], window,
            answer: { [watch] component, payload in
                let answer = try reader.answer(component, payload)
                watch.movedPiece()
                if let offset = answer["offset"]?.integer, let content = answer["content"]?.bytes {
                    Telemetry.transferred(content.count, direction: "out")
                    meter?.reached(offset + content.count)
                }
                return answer
            }, body: body)
    }

    /// Takes one file from a provider while `body` runs, and checks it.
    ///
    /// - Parameters:
    ///   - path: where the file is put once it is complete and equal to the announced hash; until then, and for ever
    ///     if it is not, there is nothing.
    ///   - maximumBytes: a larger file is refused.
    ///   - onProgress: how far it is, at most five times a second.
    ///   - body: gets the `gftp://…` address, for a transfer's `to`; returns when the transfer is done.
    public func receiving<Result: Sendable>(
        into path: String, maximumBytes: Int, onProgress: (@Sendable (TransferProgress) -> Void)? = nil,
        _ body: @Sendable @escaping (_ url: String) async throws -> Result
    ) async throws -> (Result, ReceivedFile) {
        try await receiving(into: path, maximumBytes: maximumBytes, .always, onProgress: onProgress, body)
    }

    /// The same, within the window only.
    package func receiving<Result: Sendable>(
        into path: String, maximumBytes: Int, _ window: TransferWindow,
        onProgress: (@Sendable (TransferProgress) -> Void)? = nil,
        _ body: @Sendable @escaping (_ url: String) async throws -> Result
    ) async throws -> (Result, ReceivedFile) {
        let upload = try Upload(path: path, maximumBytes: maximumBytes)
        defer { upload.discard() }
        let meter = onProgress.map { TransferMeter(total: nil, $0) }
        let result = try await withService(
            components: ["UploadChunk", "UploadFinished"], window,
            answer: { [watch] component, payload in
                let answer = try await upload.answer(component, payload)
                watch.movedPiece()
                if let chunk = payload["chunk"], let offset = chunk["offset"]?.integer,
                    let content = chunk["content"]?.bytes
                {
                    Telemetry.transferred(content.count, direction: "in")
                    meter?.reached(offset + content.count)
                }
                return answer
            }, body: body)
        let file = try await upload.conclude()
        meter?.finished(file.byteCount)
        return (result, file)
    }

    /// Does `body`, which must not have begun anything where it fails, again while our own daemon cannot be reached.
    func waitingForDaemon<Result>(
        patience: Duration = .seconds(60), isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Result
    ) async throws -> Result {
        let start = ContinuousClock.now
        while true {
            do {
                return try await body()
            } catch let error as GolemError where error.code == .unreachable {
                guard ContinuousClock.now - start < patience else { throw error }
                try await Task.sleep(for: .milliseconds(300))
            }
        }
    }

    func withService<Result: Sendable>(
        components: [String], _ window: TransferWindow = .always,
        answer: @Sendable @escaping (String, FlexValue) async throws -> FlexValue,
        body: @Sendable @escaping (String) async throws -> Result
    ) async throws -> Result {
        let name = UUID().uuidString.lowercased().filter { $0 != "-" }
        let service = "/public/gftp/" + name
        // Nothing has begun yet: while our own daemon is away this waits, and no provider is to blame.
        let (node, id) = try await waitingForDaemon {
            (try await nodeID(), try await services.bind(service, components: components))
        }
        let outcome: Swift.Result<Result, any Error>
        do {
            let value = try await withThrowingTaskGroup(of: Result?.self) { group in
                group.addTask {
                    try await keepBound(service, components: components, until: window)
                    try await withSpan("golem.transfer") { span in
                        span.attributes["golem.transfer.direction"] = components.contains("GetChunk") ? "out" : "in"
                        try await keepServing(service, components: components, id: id, window, answer)
                    }
                    return nil
                }
                group.addTask { try await body("gftp://\(node)/\(name)") }
                defer { group.cancelAll() }
                while let next = try await group.next() {
                    if let value = next { return value }
                }
                throw CancellationError()
            }
            outcome = .success(value)
        } catch {
            outcome = .failure(error)
        }
        // A service left behind would hold requests for nobody; the daemon forgets it when it restarts.
        await shielded { try? await services.unbind(id) }
        return try outcome.get()
    }

    /// Waits until the window opens; a daemon that restarts meanwhile is told of the address again.
    private func keepBound(_ service: String, components: [String], until window: TransferWindow) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await window.opened.wait() }
            group.addTask {
                var back = watch.nextReturn
                while true {
                    try await back.wait()
                    back = watch.nextReturn
                    _ = try? await waitingForDaemon { try await services.bind(service, components: components) }
                }
            }
            defer { group.cancelAll() }
            _ = try await group.next()
        }
    }

    /// Serves until the window closes.
    private func keepServing(
        _ service: String, components: [String], id: String, _ window: TransferWindow,
        _ answer: @Sendable @escaping (String, FlexValue) async throws -> FlexValue
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await window.closed.wait() }
            group.addTask { try await keepServing(service, components: components, id: id, answer) }
            defer { group.cancelAll() }
            _ = try await group.next()
        }
    }

    /// Serves until cancelled; connects again when the socket breaks, binds again when the daemon forgot the address.
    private func keepServing(
        _ service: String, components: [String], id: String,
        _ answer: @Sendable @escaping (String, FlexValue) async throws -> FlexValue
    ) async throws {
        var pause = Duration.milliseconds(100)
        var id = id
        while !Task.isCancelled {
            do {
                let socket = try await ServiceSocket.connect(
                    address: address, path: services.socketPath(id), appKey: appKey)
                pause = .milliseconds(100)
                try await socket.serve(answer)
            } catch {
                if Task.isCancelled { return }
                logger.debug("the socket of \(service) broke: \(error)")
            }
            if Task.isCancelled { return }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(2))
            if let again = try? await services.bind(service, components: components) { id = again }
        }
    }
}

/// Answers requests for metadata and chunks of one source.
package struct SourceReader: Sendable {
    private enum Content: Sendable {
        case memory([UInt8])
        case file(LocalFile)
    }

    private let content: Content
    package let size: Int

    package init(_ source: FileSource) throws {
        switch source {
        case .bytes(let bytes):
            content = .memory(bytes)
            size = bytes.count
        case .file(let path):
            let file = try LocalFile(path, .read)
            content = .file(file)
            size = try file.size()
        }
    }

    package func answer(_ component: String, _ payload: FlexValue) throws -> FlexValue {
        switch component {
        case "GetMetadata":
            return .map(["fileSize": .uint(UInt64(size))])
        case "GetChunk":
            guard let offset = payload["offset"]?.integer, let asked = payload["size"]?.integer, offset >= 0, asked >= 0
            else { throw ServiceRefusal(kind: "ReadError", text: "a chunk needs an offset and a size") }
            // Above the limit of a frame the answer could not be sent; a short answer is what the end of a file gives,
            // so a larger request is refused rather than answered in part.
            guard asked <= ServiceSocket.frameLimit - 500 else {
                throw ServiceRefusal(kind: "ReadError", text: "a chunk may have at most 64500 bytes")
            }
            let start = min(offset, size)
            let end = min(start + asked, size)
            let bytes: ArraySlice<UInt8>
            switch content {
            case .memory(let all): bytes = all[start..<end]
            case .file(let file):
                do {
                    bytes = try file.read(at: start, count: end - start)[...]
                } catch let error as GolemError {
                    throw ServiceRefusal(kind: "ReadError", text: error.message)
                }
            }
            return .map(["offset": .uint(UInt64(offset)), "content": .blob(bytes)])
        default:
            throw ServiceRefusal(kind: "InternalError", text: "unknown component \(component)")
        }
    }
}
