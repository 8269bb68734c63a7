import Foundation
import Synchronization
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Writes `events.jsonl` and tells the display, one event after the other.
final class EventJournal: Sendable {
    private struct State {
        var file: Int32 = -1
        var failure: DeMLError?
    }

    private let path: String
    private let onEvent: @Sendable (RunEvent) -> Void
    private let now: @Sendable () -> Date
    private let state = Mutex(State())

    init(
        path: String, now: @escaping @Sendable () -> Date, onEvent: @escaping @Sendable (RunEvent) -> Void
    ) throws(DeMLError) {
        self.path = path
        self.now = now
        self.onEvent = onEvent
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard file >= 0 else {
            throw DeMLError(.cannotCreate, "it cannot be written: \(String(cString: strerror(errno)))", place: path)
        }
        state.withLock { $0.file = file }
    }

    deinit {
        state.withLock { if $0.file >= 0 { close($0.file) } }
    }

    func record(_ kind: RunEvent.Kind) {
        state.withLock { state in
            let event = RunEvent(time: now(), kind)
            if state.failure == nil {
                do { try Self.write(try RunJSON.encodeLine(event), to: state.file, path) } catch {
                    state.failure =
                        error as? DeMLError ?? DeMLError(.internal, "an event cannot be written as JSON", cause: error)
                }
            }
            onEvent(event)
        }
    }

    /// Throws what went wrong in writing, which must not go unnoticed, though no event can wait for it.
    func check() throws(DeMLError) {
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }

    private static func write(_ line: [UInt8], to file: Int32, _ path: String) throws(DeMLError) {
        var written = 0
        while written < line.count {
            let put = line.withUnsafeBytes { systemWrite(file, $0.baseAddress! + written, line.count - written) }
            if put < 0 {
                if errno == EINTR { continue }
                throw DeMLError(
                    errno == ENOSPC ? .diskFull : .io, "it cannot be written: \(String(cString: strerror(errno)))",
                    place: path)
            }
            written += put
        }
    }
}

private func systemWrite(_ file: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int { write(file, bytes, count) }
