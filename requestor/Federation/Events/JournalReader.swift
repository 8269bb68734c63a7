import Foundation
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A place between two events of a run's journal, `events.jsonl`: where a reader has stopped and may go on.
public struct JournalPosition: Sendable, Hashable, Comparable, Codable {
    /// Bytes of the journal before it.
    public var bytes: Int

    public init(bytes: Int) { self.bytes = bytes }

    /// Before the first event.
    public static let beginning = JournalPosition(bytes: 0)

    public static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }
}

/// An event as it stands in the journal.
public struct JournalEntry: Sendable, Equatable {
    public var event: RunEvent
    /// The place after it: what to go on from once it is dealt with.
    public var position: JournalPosition

    public init(event: RunEvent, position: JournalPosition) {
        self.event = event
        self.position = position
    }
}

/// Reads the journal of a run a block at a time, from any position on, also while it is being written: what has no newline
/// yet is left for later. Needs no lock; used by one task at a time.
package final class JournalReader {
    private let path: String
    private var file: Int32 = -1
    /// The place after the last event that was read.
    package private(set) var position: JournalPosition

    private static let blockBytes = 256 << 10
    /// The line of a round with a million clients has 8 MB.
    private static let maximumLineBytes = 256 << 20

    package init(path: String, after position: JournalPosition) {
        self.path = path
        self.position = position
    }

    deinit { if file >= 0 { close(file) } }

    /// The next events, a block of them; none where the journal ends (or is not there yet).
    /// - Parameter isSkipped: told a line, says whether it is passed over unread. Then a block may be empty before the end.
    package func read(skipping isSkipped: ((ArraySlice<UInt8>) -> Bool)? = nil) throws(DeMLError) -> [JournalEntry] {
        if file < 0 {
            file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
            if file < 0, errno == ENOENT { return [] }
            guard file >= 0 else { throw failure(errno) }
        }
        var size = Self.blockBytes
        while true {
            let bytes = try block(size)
            if let last = bytes.lastIndex(of: UInt8(ascii: "\n")) { return try entries(bytes[...last], isSkipped) }
            if bytes.count < size { return [] }
            guard size < Self.maximumLineBytes else {
                throw DeMLError(
                    .malformed, "after byte \(position.bytes) there is a line of more than \(size) bytes", place: path)
            }
            size *= 4
        }
    }

    private func entries(
        _ lines: ArraySlice<UInt8>, _ isSkipped: ((ArraySlice<UInt8>) -> Bool)?
    ) throws(DeMLError) -> [JournalEntry] {
        var entries: [JournalEntry] = []
        var start = lines.startIndex
        while let end = lines[start...].firstIndex(of: UInt8(ascii: "\n")) {
            let after = JournalPosition(bytes: position.bytes + end + 1 - start)
            if isSkipped?(lines[start..<end]) == true {
                position = after
                start = end + 1
                continue
            }
            do {
                entries.append(
                    JournalEntry(
                        event: try RunJSON.decode(RunEvent.self, from: lines[start..<end]), position: after))
            } catch {
                // What came before the damage is told first.
                guard entries.isEmpty else { break }
                throw DeMLError(
                    .malformed, "the line after byte \(position.bytes) is not what DeML writes there", place: path,
                    cause: error)
            }
            position = after
            start = end + 1
        }
        return entries
    }

    private func block(_ size: Int) throws(DeMLError) -> [UInt8] {
        let offset = position.bytes
        var number: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size, let base = buffer.baseAddress {
                let got = pread(file, base + count, size - count, off_t(offset + count))
                if got < 0, errno == EINTR { continue }
                if got < 0 { number = errno }
                if got <= 0 { break }
                count += got
            }
        }
        guard number == 0 else { throw failure(number) }
        return bytes
    }

    private func failure(_ number: Int32) -> DeMLError {
        DeMLError(.io, "it cannot be read: \(String(cString: strerror(number)))", place: path)
    }
}

extension RunFolder {
    /// When the run began; `nil` where there is no journal.
    public func firstEventTime() throws(DeMLError) -> Date? {
        var lines = 0
        return try JournalReader(path: events, after: .beginning).read { _ in
            lines += 1
            return lines > 1
        }.first?.event.time
    }

    /// Every event of the journal in its order, a block of them in memory at a time; none where there is no journal.
    public func forEachEvent(_ body: (RunEvent) -> Void) throws(DeMLError) {
        let journal = JournalReader(path: events, after: .beginning)
        while case let entries = try journal.read(), !entries.isEmpty {
            for entry in entries { body(entry.event) }
        }
    }
}
