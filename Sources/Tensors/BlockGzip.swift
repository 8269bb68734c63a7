import CZlib

/// Writes one gzip member, whose content is deflated in blocks on several threads. Where a block begins depends on its
/// place alone, and how it is deflated on its content, so that the bytes are the same for any number of threads.
///
/// Each block is deflated by itself and ended on a byte (a sync flush); concatenated they are one deflate stream (RFC
/// 1951), as pigz does it. The last block is an empty one.
struct BlockGzip: ~Copyable {
    /// Small enough to divide work among threads, large enough that what a block's beginning costs does not count.
    static let blockBytes = 1 << 20

    private let threads: Int
    private let deflater: BlockDeflater
    private let output: (UnsafeRawBufferPointer) throws(DeMLError) -> Void
    private var waiting: [UInt8] = []
    private var sum: UInt = 0
    private var count = 0

    /// Hands the compressed bytes to `output`, in order.
    init(
        threads: Int, deflater: BlockDeflater = .zlib,
        output: @escaping (UnsafeRawBufferPointer) throws(DeMLError) -> Void
    ) throws(DeMLError) {
        // Each has its block before and after; eight write faster than disks and networks take it.
        self.threads = max(1, min(threads, 8))
        self.deflater = deflater
        self.output = output
        waiting.reserveCapacity(self.threads * Self.blockBytes)
        // RFC 1952: deflate, no flags, no time, no extra flags, Unix.
        try write([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(DeMLError) {
        var position = 0
        while position < bytes.count {
            let end = min(position + threads * Self.blockBytes - waiting.count, bytes.count)
            waiting.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[position..<end]))
            position = end
            if waiting.count == threads * Self.blockBytes { try deflateWaiting() }
        }
    }

    mutating func finish() throws(DeMLError) {
        try deflateWaiting()
        // An empty last block, the checksum, and the size modulo 2^32.
        var end: [UInt8] = [0x03, 0x00]
        for number in [UInt32(truncatingIfNeeded: sum), UInt32(truncatingIfNeeded: count)] {
            withUnsafeBytes(of: number.littleEndian) { end.append(contentsOf: $0) }
        }
        try write(end)
    }

    private mutating func deflateWaiting() throws(DeMLError) {
        guard !waiting.isEmpty else { return }
        let blocks = (waiting.count + Self.blockBytes - 1) / Self.blockBytes
        let room = Results(count: blocks)
        waiting.withUnsafeBytes { bytes in
            // Unsafe: the array is neither changed nor freed before all threads are done.
            nonisolated(unsafe) let bytes = bytes
            inParallel(blocks, threads: threads) { [deflater] index in
                let end = min((index + 1) * Self.blockBytes, bytes.count)
                let block = UnsafeRawBufferPointer(rebasing: bytes[index * Self.blockBytes..<end])
                room.set(index, DeflatedBlock(block, deflater))
            }
        }
        waiting.removeAll(keepingCapacity: true)
        for index in 0..<blocks {
            guard let block = room.take(index) else { throw DeMLError(.internal, "a block was not compressed") }
            sum = crc32_combine(sum, block.sum, block.count)
            count += block.count
            try write(block.bytes)
        }
    }

    private func write(_ bytes: [UInt8]) throws(DeMLError) {
        let output = output
        try bytes[...].withBytes { (buffer: UnsafeRawBufferPointer) throws(DeMLError) in try output(buffer) }
    }

    /// What the threads made, each in its own place.
    private final class Results: @unchecked Sendable {
        // Unchecked: each place is written by one thread, and read when all have ended.
        private let places: UnsafeMutableBufferPointer<DeflatedBlock?>

        init(count: Int) {
            places = .allocate(capacity: count)
            places.initialize(repeating: nil)
        }

        deinit {
            places.deinitialize()
            places.deallocate()
        }

        func set(_ index: Int, _ block: DeflatedBlock?) { places[index] = block }

        func take(_ index: Int) -> DeflatedBlock? {
            defer { places[index] = nil }
            return places[index]
        }
    }
}

/// One block of a deflate stream.
private struct DeflatedBlock: Sendable {
    var bytes: [UInt8]
    /// CRC-32 and size of what went in.
    var sum: UInt
    var count: Int

    init?(_ content: UnsafeRawBufferPointer, _ deflater: BlockDeflater) {
        guard let bytes = deflater.deflate(content) else { return nil }
        self.bytes = bytes
        sum = UInt(deflater.checksum(content))
        count = content.count
    }
}

/// Deflates blocks of up to some MiB (RFC 1951), each by itself. The bytes depend on the block alone.
public struct BlockDeflater: Sendable {
    let deflate: @Sendable (UnsafeRawBufferPointer) -> [UInt8]?
    let checksum: @Sendable (UnsafeRawBufferPointer) -> UInt32

    /// - Parameters:
    ///   - deflate: a block that ends on a byte and is not the last of its stream; nil where that fails.
    ///   - checksum: CRC-32 of a block (RFC 1952).
    public init(
        deflate: @escaping @Sendable (UnsafeRawBufferPointer) -> [UInt8]?,
        checksum: @escaping @Sendable (UnsafeRawBufferPointer) -> UInt32
    ) {
        self.deflate = deflate
        self.checksum = checksum
    }

    /// By zlib, as thoroughly as a sample of the block shows to be worth it.
    public static let zlib = BlockDeflater { content in
        Method(for: content).deflate(content)
    } checksum: { content in
        UInt32(
            truncatingIfNeeded: CZlib.crc32(
                0, content.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt32(content.count)))
    }

    /// How zlib looks for repetitions.
    ///
    /// Of a weight's four bytes only that of the exponent repeats itself, which needs no search: runs alone make 0.851 of
    /// MNIST's deltas and 0.925 of Gaussian numbers at 115 MB/s a thread, level 6 makes 0.852 and 0.926 at 33. Runs also
    /// make 0.210 of MNIST's images at 165 MB/s, level 6 0.210 at 56. But a table with columns of zeros and ones becomes
    /// much smaller where all is searched.
    private enum Method {
        case runs
        case search

        /// What a sample from the middle shows: searching must save a twentieth.
        init(for content: UnsafeRawBufferPointer) {
            let size = min(content.count, 1 << 13)
            let start = (content.count - size) / 2
            let sample = UnsafeRawBufferPointer(rebasing: content[start..<start + size])
            guard let runs = Method.runs.deflate(sample)?.count, let search = Method.search.deflate(sample)?.count
            else {
                self = .search
                return
            }
            self = search * 20 < runs * 19 ? .search : .runs
        }

        /// A block that ends on a byte and is not the last of its stream; nil where zlib has no memory.
        func deflate(_ content: UnsafeRawBufferPointer) -> [UInt8]? {
            // On the heap, because zlib's state points back at the stream.
            let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
            stream.initialize(to: z_stream())
            defer { stream.deallocate() }
            let (level, strategy): (Int32, Int32) = self == .runs ? (1, Z_RLE) : (6, Z_DEFAULT_STRATEGY)
            let status = deflateInit2_(
                stream, level, Z_DEFLATED, -15, 8, strategy, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
            guard status == Z_OK else { return nil }
            defer { deflateEnd(stream) }
            // Besides what is compressed, the empty block of the flush.
            let bound = Int(deflateBound(stream, UInt(content.count))) + 16
            let bytes = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
                stream.pointee.next_in = UnsafeMutableRawPointer(mutating: content.baseAddress)?
                    .assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_in = UInt32(content.count)
                stream.pointee.next_out = buffer.baseAddress
                stream.pointee.avail_out = UInt32(bound)
                let status = CZlib.deflate(stream, Z_SYNC_FLUSH)
                let isWhole = status == Z_OK && stream.pointee.avail_in == 0 && stream.pointee.avail_out > 0
                count = isWhole ? bound - Int(stream.pointee.avail_out) : 0
            }
            return bytes.isEmpty ? nil : bytes
        }
    }
}
