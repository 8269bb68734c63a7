/// gzip by zlib, whole buffers. For streams see ``Inflater`` and ``Deflater``.
public enum Gzip {
    /// deflate cannot expand more than this, so that a promised size can be refused before memory is taken for it.
    static let maximumExpansion = 1032

    public static func isGzip(_ bytes: some Collection<UInt8>) -> Bool {
        bytes.starts(with: [0x1f, 0x8b])
    }

    /// gzip without time or name: the result depends on the content (and on zlib) alone.
    public static func compress(_ bytes: [UInt8], level: Int = 6) throws(DeMLError) -> [UInt8] {
        var deflater = try Deflater(.gzip, level: level)
        return try makeBytes(capacity: deflater.bound(bytes.count) + 64) {
            (output: UnsafeMutableRawBufferPointer) throws(DeMLError) -> Int in
            try bytes[...].withBytes { (input: UnsafeRawBufferPointer) throws(DeMLError) -> Int in
                var consumed = 0
                var produced = 0
                while true {
                    let step = try deflater.step(
                        from: UnsafeRawBufferPointer(rebasing: input[consumed...]),
                        into: UnsafeMutableRawBufferPointer(rebasing: output[produced...]), finish: true)
                    consumed += step.consumed
                    produced += step.produced
                    if step.ended { return produced }
                    guard step.consumed + step.produced > 0 else {
                        throw DeMLError(.internal, "zlib's bound of the compressed size was too small")
                    }
                }
            }
        }
    }

    /// The content of a gzip file, of one member or several. Throws `truncated`, `malformed`, and `tooLarge` as soon as
    /// more than `maximumBytes` come out.
    public static func decompress(_ bytes: [UInt8], maximumBytes: Int) throws(DeMLError) -> [UInt8] {
        var reader = try GzipReader(ByteRegion(bytes))
        // The last four bytes promise the size (of the last member, modulo 2^32). It is a hint: where it is right, one
        // buffer is enough.
        let hint = bytes.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        var capacity = min(hint, maximumBytes, bytes.count * maximumExpansion)
        var chunks: [[UInt8]] = []
        var total = 0
        while true {
            let chunk = try makeBytes(capacity: capacity) { (output) throws(DeMLError) -> Int in
                try reader.read(into: output)
            }
            total += chunk.count
            if !chunk.isEmpty { chunks.append(chunk) }
            if try reader.isAtEnd() { break }
            guard total < maximumBytes else {
                throw DeMLError(.tooLarge, "the gzip stream expands beyond the limit of \(maximumBytes) bytes")
            }
            capacity = min(max(total, 1 << 16), maximumBytes - total)
        }
        if chunks.count <= 1 { return chunks.first ?? [] }
        var whole: [UInt8] = []
        whole.reserveCapacity(total)
        for index in chunks.indices {
            whole += chunks[index]
            chunks[index] = []
        }
        return whole
    }

    /// The content of a gzip file whose beginning says how long it is: at most `headerBytes` are expanded and handed to
    /// `total`, which returns the size of the whole content in bytes; then one buffer of that size is filled. Throws
    /// `truncated` and `tooLarge` where the content has another size.
    package static func decompress(
        _ bytes: [UInt8], headerBytes: Int, total: ([UInt8]) throws(DeMLError) -> Int
    ) throws(DeMLError) -> [UInt8] {
        var reader = try GzipReader(ByteRegion(bytes))
        let header = try makeBytes(capacity: headerBytes) { (room) throws(DeMLError) in try reader.read(into: room) }
        let size = try total(header)
        guard size / maximumExpansion <= bytes.count else {
            throw DeMLError(
                .truncated, "\(size) bytes are promised, more than \(bytes.count) compressed bytes can give")
        }
        let content = try makeBytes(capacity: max(size, header.count)) { (room) throws(DeMLError) in
            room.copyBytes(from: header)
            let rest = UnsafeMutableRawBufferPointer(rebasing: room[header.count...])
            return header.count + (try reader.read(into: rest))
        }
        guard content.count >= size else {
            throw DeMLError(.truncated, "\(size) bytes are promised, but there are \(content.count)")
        }
        guard content.count == size, try reader.isAtEnd() else {
            throw DeMLError(.tooLarge, "the gzip stream expands beyond the \(size) bytes that are promised")
        }
        return content
    }

    /// The first bytes of the content, at most `count`, to recognise it.
    package static func prefix(_ bytes: [UInt8], count: Int) throws(DeMLError) -> [UInt8] {
        var reader = try GzipReader(ByteRegion(bytes))
        return try makeBytes(capacity: count) { (room) throws(DeMLError) in try reader.read(into: room) }
    }

    /// A raw deflate stream that must give exactly `count` bytes and use all of `bytes`, as inside zip.
    public static func inflateRaw(_ bytes: ArraySlice<UInt8>, count: Int) throws(DeMLError) -> [UInt8] {
        guard count / maximumExpansion <= bytes.count else {
            throw DeMLError(.malformed, "\(bytes.count) compressed bytes cannot expand to the promised \(count)")
        }
        var inflater = try Inflater(.raw)
        return try makeBytes(capacity: count) { (output) throws(DeMLError) -> Int in
            try bytes.withBytes { (input: UnsafeRawBufferPointer) throws(DeMLError) -> Int in
                var consumed = 0
                var produced = 0
                while true {
                    // With no room left only the end marker can be read: no progress means more content.
                    let step = try inflater.step(
                        from: UnsafeRawBufferPointer(rebasing: input[consumed...]),
                        into: UnsafeMutableRawBufferPointer(rebasing: output[produced..<count]))
                    consumed += step.consumed
                    produced += step.produced
                    if step.ended { break }
                    guard step.consumed + step.produced > 0 else {
                        if produced == count, consumed < input.count {
                            throw DeMLError(.tooLarge, "the compressed data expands beyond the promised \(count) bytes")
                        }
                        throw DeMLError(.truncated, "the compressed data ends early")
                    }
                }
                guard produced == count else {
                    throw DeMLError(.truncated, "the compressed data holds \(produced) bytes instead of \(count)")
                }
                guard consumed == input.count else {
                    throw DeMLError(.malformed, "\(input.count - consumed) bytes follow the end of the compressed data")
                }
                return produced
            }
        }
    }
}

/// Reads the content of a gzip file in memory piece by piece: one member or several, nothing else behind them.
struct GzipReader: ~Copyable {
    private let bytes: ByteRegion
    private var position = 0
    private var inflater: Inflater
    private var ended = false

    init(_ bytes: ByteRegion) throws(DeMLError) {
        inflater = try Self.inflater(for: bytes)
        self.bytes = bytes
    }

    private static func inflater(for bytes: ByteRegion) throws(DeMLError) -> Inflater {
        guard Gzip.isGzip(bytes) else {
            throw DeMLError(.malformed, "the data is not gzip: it does not begin with 1f 8b")
        }
        return try Inflater(.gzip)
    }

    /// Fills `output` as far as there is content; fewer bytes only at the end.
    mutating func read(into output: UnsafeMutableRawBufferPointer) throws(DeMLError) -> Int {
        var produced = 0
        while produced < output.count, !ended {
            produced += try step(into: UnsafeMutableRawBufferPointer(rebasing: output[produced...]))
        }
        return produced
    }

    /// Whether all members have been read to their end with a right checksum and nothing is left. To be asked when
    /// the expected bytes have been read: reads on to the end, and is false where there is more content.
    mutating func isAtEnd() throws(DeMLError) -> Bool {
        // Without room for output zlib consumes the end marker and the trailer, and nothing else.
        while !ended {
            let before = position
            _ = try step(into: UnsafeMutableRawBufferPointer(start: nil, count: 0))
            if position == before { return ended }
        }
        return true
    }

    private mutating func step(into output: UnsafeMutableRawBufferPointer) throws(DeMLError) -> Int {
        let remaining = bytes.dropFirst(position)
        let step = try remaining.withUnsafeBytes { (input: UnsafeRawBufferPointer) throws(DeMLError) -> StreamStep in
            try inflater.step(from: input, into: output)
        }
        position += step.consumed
        if step.ended {
            if position == bytes.count {
                ended = true
            } else if Gzip.isGzip(bytes.dropFirst(position)) {
                inflater.reset()
            } else {
                throw DeMLError(.malformed, "\(bytes.count - position) bytes follow the end of the gzip stream")
            }
        } else if position == bytes.count, step.produced < output.count || step.consumed + step.produced == 0 {
            throw DeMLError(.truncated, "the gzip stream ends early")
        }
        return step.produced
    }
}
