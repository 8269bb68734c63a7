import CZlib

/// The three wrappings that zlib knows.
public enum ZlibFormat: Sendable {
    /// RFC 1952.
    case gzip
    /// RFC 1951 without a wrapper, as inside zip.
    case raw
    /// RFC 1950.
    case zlib

    var windowBits: Int32 {
        switch self {
        case .gzip: 15 + 16
        case .raw: -15
        case .zlib: 15
        }
    }
}

/// What one step of a stream did.
public struct StreamStep: Sendable, Equatable {
    public let consumed: Int
    public let produced: Int
    /// The end of the compressed stream was reached, its checksum was right.
    public let ended: Bool
}

/// Decompression piece by piece, for who does not want the whole in memory. The caller bounds the output by what it
/// hands out as room.
public struct Inflater: ~Copyable {
    // On the heap, because zlib's state points back at the stream.
    private let stream: UnsafeMutablePointer<z_stream>

    public init(_ format: ZlibFormat = .gzip) throws(DeMLError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let status = inflateInit2_(stream, format.windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard status == Z_OK else {
            stream.deallocate()
            throw DeMLError(.internal, "zlib did not start: \(status)")
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Decompresses from `input` into `output` until one is used up or the stream ends.
    /// Throws `malformed` for bytes that are not a stream of the format or have a wrong checksum.
    public mutating func step(
        from input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(DeMLError) -> StreamStep {
        let room = stream.setBuffers(input, output)
        let status = inflate(stream, Z_NO_FLUSH)
        let consumed = room.input - Int(stream.pointee.avail_in)
        let produced = room.output - Int(stream.pointee.avail_out)
        switch status {
        case Z_STREAM_END: return StreamStep(consumed: consumed, produced: produced, ended: true)
        // Z_BUF_ERROR: nothing could be done with the room given, which the caller sees by two zeros.
        case Z_OK, Z_BUF_ERROR: return StreamStep(consumed: consumed, produced: produced, ended: false)
        case Z_NEED_DICT: throw DeMLError(.malformed, "the compressed data needs a preset dictionary")
        case Z_MEM_ERROR: throw DeMLError(.internal, "zlib had no memory")
        default:
            let reason = stream.pointee.msg.map { String(cString: $0) } ?? "zlib status \(status)"
            throw DeMLError(.malformed, "the compressed data is damaged: \(reason)")
        }
    }

    /// Begins another stream, as a gzip file of several members needs it.
    public mutating func reset() {
        inflateReset(stream)
    }
}

/// Compression piece by piece.
public struct Deflater: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>

    /// gzip is written without time and name, so that the bytes depend on the content alone.
    public init(_ format: ZlibFormat = .gzip, level: Int = 6) throws(DeMLError) {
        precondition((0...9).contains(level), "zlib's levels go from 0 to 9")
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let status = deflateInit2_(
            stream, Int32(level), Z_DEFLATED, format.windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard status == Z_OK else {
            stream.deallocate()
            throw DeMLError(.internal, "zlib did not start: \(status)")
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// An upper bound of the compressed size of `count` bytes.
    public mutating func bound(_ count: Int) -> Int {
        Int(deflateBound(stream, UInt(count)))
    }

    /// Compresses from `input` into `output` until one is used up; with `finish`, `input` is the last and the stream is
    /// ended, which may take several steps.
    public mutating func step(
        from input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer, finish: Bool
    ) throws(DeMLError) -> StreamStep {
        let room = stream.setBuffers(input, output)
        let status = deflate(stream, finish && room.input == input.count ? Z_FINISH : Z_NO_FLUSH)
        guard status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR else {
            throw DeMLError(.internal, "zlib did not compress: \(status)")
        }
        return StreamStep(
            consumed: room.input - Int(stream.pointee.avail_in), produced: room.output - Int(stream.pointee.avail_out),
            ended: status == Z_STREAM_END)
    }
}

extension UnsafeMutablePointer<z_stream> {
    /// Points the stream at the buffers, of which zlib takes less than 4 GiB at a time.
    fileprivate func setBuffers(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer
    ) -> (input: Int, output: Int) {
        let limit = 1 << 30
        let room = (input: Swift.min(input.count, limit), output: Swift.min(output.count, limit))
        pointee.next_in = UnsafeMutableRawPointer(mutating: input.baseAddress)?.assumingMemoryBound(to: UInt8.self)
        pointee.avail_in = UInt32(room.input)
        // zlib wants a pointer even where there is no room behind it.
        let start = output.baseAddress ?? UnsafeMutableRawPointer(self)
        pointee.next_out = start.assumingMemoryBound(to: UInt8.self)
        pointee.avail_out = UInt32(room.output)
        return room
    }
}

/// CRC-32 as gzip and zip use it.
public func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.withUnsafeBytes { buffer in
        var sum = CZlib.crc32(0, nil, 0)
        var position = 0
        while position < buffer.count {
            let length = min(buffer.count - position, 1 << 30)
            sum = CZlib.crc32(
                sum, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self).advanced(by: position), UInt32(length))
            position += length
        }
        return UInt32(truncatingIfNeeded: sum)
    }
}
