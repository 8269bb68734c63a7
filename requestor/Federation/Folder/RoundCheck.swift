import Fleets
import Tensors

extension RunFolder {
    /// What a finished round left, checked: its record is whole and of this round, and every file it tells of has the size
    /// and the SHA-256 it tells.
    /// - Parameter isWhole: false to check the record alone.
    /// - Throws: `.mismatch`, `.malformed` or `.notFound`, with the damaged file as place.
    public func check(round: Int, isWhole: Bool = true) throws(DeMLError) -> RoundRecord {
        let path = metrics(round: round)
        let bytes = try Files.read(path, maximumBytes: 1 << 30)
        let seal = Seal.isIntact(bytes)
        guard seal != false else { throw Self.damage(at: path) }
        let record: RoundRecord
        do { record = try RunJSON.decode(RoundRecord.self, from: bytes) } catch {
            throw DeMLError(.malformed, "it is not what DeML writes there", place: path, cause: error)
        }
        guard record.metrics.round == round else {
            throw DeMLError(.mismatch, "it is the record of round \(record.metrics.round)", place: path)
        }
        // Versions before the seal had neither it nor the list.
        guard (seal == nil) == (record.files == nil) else { throw Self.damage(at: path) }
        guard isWhole else { return record }
        let files =
            record.files
            ?? [StoredFile(path: "weights.safetensors", sha256: record.metrics.weightsSHA256, byteCount: -1)]
        for file in files {
            guard Files.name(of: file.path) == file.path else { throw Self.damage(at: path) }
            try check(file, at: Files.path(self.round(round), file.path))
        }
        return record
    }

    private func check(_ file: StoredFile, at path: String) throws(DeMLError) {
        guard let size = Files.size(of: path) else {
            throw DeMLError(.notFound, "it is missing, though the round's record tells of it", place: path)
        }
        guard file.byteCount < 0 || size == file.byteCount else {
            throw DeMLError(
                .mismatch, "it is not the file that was written: it has \(size) bytes, it had \(file.byteCount)",
                place: path)
        }
        guard try Safetensors.digestOfContents(of: path) == file.sha256 else { throw Self.damage(at: path) }
    }

    private static func damage(at path: String) -> DeMLError {
        DeMLError(.mismatch, "it is not the file that was written (its SHA-256 is another)", place: path)
    }

    /// The records of the rounds from 0 to `last`. What the run goes on with is checked whole: the last round, and the best
    /// one's weights. Damage is refused, and an older round that could be gone on from is offered.
    func checkedRecords(upTo last: Int) throws(DeMLError) -> [RoundRecord] {
        var records: [RoundRecord] = []
        do throws(DeMLError) {
            for round in 0...last { records.append(try check(round: round, isWhole: round == last)) }
            let best = records[last].bestRound
            guard (0...last).contains(best) else { throw Self.damage(at: metrics(round: last)) }
            if best != last { _ = try check(round: best) }
            return records
        } catch {
            var error = error
            // The newest round with nothing damaged before it.
            let whole = (0..<last).prefix { (try? check(round: $0, isWhole: false)) != nil }
                .last { (try? check(round: $0)) != nil }
            error.hint =
                whole.map {
                    "put it back from a copy; or go on from round \($0), which is whole, by removing "
                        + ($0 + 1 == last ? round(last) : "the folders after \(round($0))")
                } ?? "put it back from a copy; no older round is whole"
            throw error
        }
    }
}

/// A digest that a JSON file tells of itself: SHA-256 of its bytes with zeros in place of the digest.
enum Seal {
    static let key = RoundRecord.CodingKeys.recordSHA256.rawValue
    /// What is written before the digest is known.
    static let open = String(repeating: "0", count: digits)
    private static let digits = 64

    /// The bytes with the digest in its place. There must be one place, with ``open`` in it.
    static func closed(_ bytes: [UInt8]) -> [UInt8] {
        guard let place = place(in: bytes) else { return bytes }
        var bytes = bytes
        bytes.replaceSubrange(place, with: sha256Hex(bytes).utf8)
        return bytes
    }

    /// Whether the bytes have the digest that they tell; `nil` when they tell none.
    static func isIntact(_ bytes: [UInt8]) -> Bool? {
        guard let place = place(in: bytes) else { return nil }
        var blank = bytes
        blank.replaceSubrange(place, with: open.utf8)
        return sha256Hex(blank).utf8.elementsEqual(bytes[place])
    }

    /// Where the digest's digits stand.
    private static func place(in bytes: [UInt8]) -> Range<Int>? {
        let name = Array("\"\(key)\"".utf8)
        guard bytes.count > name.count + digits,
            let start = (0...(bytes.count - name.count)).first(where: {
                bytes[$0] == name[0] && bytes[$0..<($0 + name.count)].elementsEqual(name)
            }),
            let quote = bytes[(start + name.count)...].firstIndex(of: UInt8(ascii: "\"")),
            quote + 1 + digits <= bytes.count
        else { return nil }
        return quote + 1..<quote + 1 + digits
    }
}
