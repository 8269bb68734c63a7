import ForeignText
import SHA3

/// A file that a provider sends here, written piece by piece wherever the pieces belong.
///
/// Pieces come in any order and up to eight at a time, and nothing says the size before the end; so each is written at
/// its own offset, and at the end the pieces must cover the file without a gap.
package actor Upload {
    package nonisolated let path: String
    private let maximumBytes: Int
    private var file: LocalFile
    private var covered = RangeList()
    private var result: Result<ReceivedFile, GolemError>?

    package init(path: String, maximumBytes: Int) throws {
        self.path = path
        self.maximumBytes = maximumBytes
        file = try LocalFile(path + ".part", .create)
    }

    package func answer(_ component: String, _ payload: FlexValue) throws -> FlexValue {
        // Once this side could not write, nothing that the other side sends or announces makes it its fault.
        if case .failure(let error)? = result, error.code == .io {
            throw ServiceRefusal(kind: "WriteError", text: error.message)
        }
        switch component {
        case "UploadChunk":
            guard let chunk = payload["chunk"], let offset = chunk["offset"]?.integer, offset >= 0,
                let content = chunk["content"]?.bytes
            else { throw ServiceRefusal(kind: "WriteError", text: "a chunk needs an offset and content") }
            guard content.count <= maximumBytes, offset <= maximumBytes - content.count else {
                fail(.tooLarge(maximumBytes), path)
                throw ServiceRefusal(kind: "WriteError", text: "the file may have at most \(maximumBytes) bytes")
            }
            do {
                try file.write(content, at: offset)
            } catch let error as GolemError {
                result = .failure(error)
                throw ServiceRefusal(kind: "WriteError", text: error.message)
            }
            if !content.isEmpty { covered.insert(offset..<offset + content.count) }
            return .null
        case "UploadFinished":
            return try finish(announced: payload["hash"]?.string)
        default:
            throw ServiceRefusal(kind: "InternalError", text: "unknown component \(component)")
        }
    }

    private enum Fault {
        case tooLarge(Int)
        case gap(Int)
        case hash(String, String)
    }

    private func fail(_ fault: Fault, _ path: String) {
        let message =
            switch fault {
            case .tooLarge(let limit): "the file sent has more than the \(limit) bytes allowed"
            case .gap(let offset): "the file sent has a gap: nothing came for byte \(offset)"
            case .hash(let announced, let found):
                "the file that came has SHA3-256 \(found), \(ForeignText.line(announced, limit: 80)) was announced"
            }
        result = .failure(GolemError(.corrupted, message, place: path, hint: "fetch it again, or give up the provider"))
    }

    private func finish(announced: String?) throws -> FlexValue {
        let size = covered.end
        if let gap = covered.firstGap {
            fail(.gap(gap), path)
            throw ServiceRefusal(kind: "IntegrityError", text: nil)
        }
        var hash = SHA3.bits256()
        var offset = 0
        while offset < size {
            let piece = try file.read(at: offset, count: min(1 << 20, size - offset))
            guard !piece.isEmpty else { break }
            hash.update(piece)
            offset += piece.count
        }
        let found = hash.hexDigest()
        if let announced, announced.lowercased() != found {
            fail(.hash(announced, found), path)
            // What is sent next is another attempt.
            covered = RangeList()
            throw ServiceRefusal(kind: "IntegrityError", text: nil)
        }
        result = .success(ReceivedFile(path: path, byteCount: size, sha3: found))
        return .null
    }

    /// Moves the finished file into place; throws what went wrong, or that nothing came.
    package func conclude() throws -> ReceivedFile {
        guard let result else {
            throw GolemError(
                .corrupted, "the provider reported a transfer as done, but did not finish sending the file", place: path
            )
        }
        let received = try result.get()
        try file.truncate(to: received.byteCount)
        try LocalFile.rename(path + ".part", to: path)
        return received
    }

    package nonisolated func discard() {
        LocalFile.remove(path + ".part")
    }
}

/// A file that came from a provider.
public struct ReceivedFile: Sendable, Equatable {
    /// Where it lies.
    public var path: String
    /// Its size.
    public var byteCount: Int
    /// SHA3-256 of what is here. It equals what the sender announced, which proves the transport only: a sender that
    /// cheats announces the hash of what it sends.
    public var sha3: String
}

/// A set of bytes, as sorted ranges that do not touch.
package struct RangeList: Equatable {
    package private(set) var ranges: [Range<Int>] = []

    package init() {}

    package mutating func insert(_ new: Range<Int>) {
        guard !new.isEmpty else { return }
        // The first range that ends at or after the beginning of the new one; all before stay as they are.
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < new.lowerBound { low = middle + 1 } else { high = middle }
        }
        var merged = new
        var end = low
        while end < ranges.count, ranges[end].lowerBound <= new.upperBound {
            merged = min(merged.lowerBound, ranges[end].lowerBound)..<max(merged.upperBound, ranges[end].upperBound)
            end += 1
        }
        ranges.replaceSubrange(low..<end, with: [merged])
    }

    package var end: Int { ranges.last?.upperBound ?? 0 }

    /// The first byte below ``end`` that is missing.
    package var firstGap: Int? {
        guard let first = ranges.first else { return nil }
        if first.lowerBound > 0 { return 0 }
        return ranges.count > 1 ? first.upperBound : nil
    }
}
