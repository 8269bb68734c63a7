import SHA3

/// What came from a machine piece by piece.
public struct ReceivedContent: Sendable, Equatable {
    /// Its size.
    public var byteCount: Int
    /// SHA3-256, in hex, as announced by the sender and as found.
    public var sha3: String
}

/// A file that a provider sends here, handed on in order while it comes, and kept nowhere.
///
/// Pieces come up to eight at a time and in any order; one that is ahead is kept until those before it are there. What is
/// kept so is bounded, as a provider could send the end of a file first and never its beginning.
package actor StreamedUpload {
    private let maximumBytes: Int
    private let receive: @Sendable ([UInt8]) async throws -> Void
    private let place: String
    private var ahead: [Int: [UInt8]] = [:]
    private var aheadBytes = 0
    private var next = 0
    private var hash = SHA3.bits256()
    /// While `receive` is at work other pieces may come: one hands on, the others wait in `ahead`.
    private var isHandingOn = false
    private var result: Result<ReceivedContent, any Error>?
    /// What may be ahead at most.
    static let aheadLimit = 16 << 20

    package init(
        place: String, maximumBytes: Int, _ receive: @Sendable @escaping ([UInt8]) async throws -> Void
    ) {
        self.place = place
        self.maximumBytes = maximumBytes
        self.receive = receive
    }

    package func answer(_ component: String, _ payload: FlexValue) async throws -> FlexValue {
        switch component {
        case "UploadChunk":
            guard let chunk = payload["chunk"], let offset = chunk["offset"]?.integer, offset >= 0,
                let content = chunk["content"]?.bytes
            else { throw ServiceRefusal(kind: "WriteError", text: "a chunk needs an offset and content") }
            if case .failure(let error)? = result { throw refusal(error) }
            guard content.count <= maximumBytes, offset <= maximumBytes - content.count else {
                throw fail("the file sent has more than the \(maximumBytes) bytes allowed")
            }
            try await take(Array(content), at: offset)
            return .null
        case "UploadFinished":
            return try finish(announced: payload["hash"]?.string)
        default:
            throw ServiceRefusal(kind: "InternalError", text: "unknown component \(component)")
        }
    }

    private func take(_ content: [UInt8], at offset: Int) async throws {
        // Sent again after a broken connection.
        guard offset + content.count > next, !content.isEmpty else { return }
        let old = ahead[offset]?.count ?? 0
        guard content.count > old else { return }
        guard aheadBytes - old + content.count <= Self.aheadLimit else {
            throw fail("the file sent has a gap: nothing came for byte \(next)")
        }
        ahead[offset] = content
        aheadBytes += content.count - old
        guard !isHandingOn else { return }
        isHandingOn = true
        defer { isHandingOn = false }
        while let start = ahead.keys.filter({ $0 <= next }).min(), let piece = ahead.removeValue(forKey: start) {
            aheadBytes -= piece.count
            let fresh = Array(piece.dropFirst(next - start))
            guard !fresh.isEmpty else { continue }
            next += fresh.count
            hash.update(fresh)
            do {
                try await receive(fresh)
            } catch {
                result = .failure(error)
                throw refusal(error)
            }
        }
    }

    private func finish(announced: String?) throws -> FlexValue {
        if case .failure(let error)? = result { throw refusal(error) }
        guard ahead.isEmpty else { throw fail("the file sent has a gap: nothing came for byte \(next)") }
        let found = hash.hexDigest()
        if let announced, announced.lowercased() != found {
            throw fail("the file that came has SHA3-256 \(found), \(announced.prefix(80)) was announced")
        }
        result = .success(ReceivedContent(byteCount: next, sha3: found))
        return .null
    }

    private func fail(_ message: String) -> ServiceRefusal {
        let error = GolemError(.corrupted, message, place: place, hint: "fetch it again, or give up the provider")
        result = .failure(error)
        return refusal(error)
    }

    private func refusal(_ error: any Error) -> ServiceRefusal {
        ServiceRefusal(kind: "WriteError", text: (error as? GolemError)?.message ?? "\(error)")
    }

    /// What came of it. Throws what `receive` threw, `corrupted`, or that the sender never finished.
    package func conclude() throws -> ReceivedContent {
        guard let result else {
            throw GolemError(
                .corrupted, "the file did not arrive: the sender never finished", place: place,
                hint: "fetch it again, or give up the provider")
        }
        return try result.get()
    }

    /// What went wrong here; the batch that ended with it says less.
    package var failure: (any Error)? {
        if case .failure(let error)? = result { error } else { nil }
    }
}

extension GolemClient {
    /// Takes one file from a provider while `body` runs and hands it on in order, piece by piece: what `receive` has not
    /// finished with holds up the sender, so that little memory is needed. What was handed on of a file that turns out
    /// damaged at its end must be thrown away.
    ///
    /// - Parameter body: gets the `gftp://…` address, for a transfer's `to`; returns when the transfer is done.
    /// - Throws: `corrupted` for a file that is too large, has a gap or another hash than announced; what `receive` or `body`
    ///   throws.
    public func receiving<Result: Sendable>(
        maximumBytes: Int, _ receive: @Sendable @escaping ([UInt8]) async throws -> Void, place: String = "a transfer",
        _ body: @Sendable @escaping (_ url: String) async throws -> Result
    ) async throws -> (Result, ReceivedContent) {
        let upload = StreamedUpload(place: place, maximumBytes: maximumBytes, receive)
        do {
            let result = try await withService(
                components: ["UploadChunk", "UploadFinished"], answer: { try await upload.answer($0, $1) }, body: body)
            return (result, try await upload.conclude())
        } catch {
            throw await upload.failure ?? error
        }
    }
}

extension Machine {
    /// Copies a file out of the machine into memory.
    ///
    /// - Parameter maximumBytes: a larger file is refused with `corrupted`.
    public func fetch(_ path: String, maximumBytes: Int, limit: Duration) async throws -> [UInt8] {
        let content = Collected()
        _ = try await fetch(path, maximumBytes: maximumBytes, limit: limit) { await content.add($0) }
        return await content.bytes
    }

    /// Copies a file out of the machine piece by piece, in order: see ``GolemClient/receiving(maximumBytes:_:place:_:)``.
    @discardableResult
    public func fetch(
        _ path: String, maximumBytes: Int, limit: Duration,
        receive: @Sendable @escaping ([UInt8]) async throws -> Void
    ) async throws -> ReceivedContent {
        try await client.receiving(maximumBytes: maximumBytes, receive, place: label) { url in
            _ = try await runChecked([.transfer(from: Command.inMachine(path), to: url)], limit: limit)
        }.1
    }
}

private actor Collected {
    var bytes: [UInt8] = []
    func add(_ piece: [UInt8]) { bytes += piece }
}
