#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Bytes that nobody changes, and where they lie: in an array, in an array of floats, or in a mapped file. A slice shares
/// them; none of this copies.
public struct ByteRegion: RandomAccessCollection, Sendable {
    public typealias SubSequence = ByteRegion

    private enum Storage: Sendable {
        case bytes(ArraySlice<UInt8>)
        case floats(ArraySlice<Float>)
        case file(MappedFile)
    }

    private let storage: Storage
    public let startIndex: Int
    public let endIndex: Int

    private init(_ storage: Storage, _ range: Range<Int>) {
        self.storage = storage
        startIndex = range.lowerBound
        endIndex = range.upperBound
    }

    public init(_ bytes: [UInt8]) {
        self.init(bytes[...])
    }

    /// The slice's bytes, with its indices.
    public init(_ bytes: ArraySlice<UInt8>) {
        self.init(.bytes(bytes), bytes.indices)
    }

    /// The floats as they are stored, little-endian.
    public init(_ floats: ArraySlice<Float>) {
        self.init(.floats(floats), floats.startIndex * 4..<floats.endIndex * 4)
    }

    public init(_ file: MappedFile) {
        self.init(.file(file), 0..<file.count)
    }

    public subscript(index: Int) -> UInt8 {
        precondition(index >= startIndex && index < endIndex, "byte \(index) of \(startIndex)..<\(endIndex)")
        switch storage {
        case .bytes(let bytes): return bytes[index]
        case .floats, .file: return withUnsafeBytes { $0[index - startIndex] }
        }
    }

    public subscript(range: Range<Int>) -> ByteRegion {
        precondition(range.lowerBound >= startIndex && range.upperBound <= endIndex, "bytes out of range")
        return ByteRegion(storage, range)
    }

    /// The bytes in place. They may be unaligned: use `loadUnaligned`.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        switch storage {
        case .bytes(let bytes): return try bytes[startIndex..<endIndex].withBytes(body)
        case .floats(let floats):
            let first = startIndex - floats.startIndex * 4
            return try floats.withBytes { (bytes) throws(Failure) -> Result in
                try body(UnsafeRawBufferPointer(rebasing: bytes[first..<first + count]))
            }
        case .file(let file): return try body(UnsafeRawBufferPointer(rebasing: file.bytes[startIndex..<endIndex]))
        }
    }

    public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        try withUnsafeBytes { try body($0.assumingMemoryBound(to: UInt8.self)) }
    }

    /// Whether the bytes are those of a mapped file, and take no memory that others could not have.
    var isMapped: Bool {
        if case .file = storage { true } else { false }
    }

    /// Says that the bytes are not needed for a while. Those of a mapped file leave memory and are read again when they
    /// are; so a file larger than memory can be walked through. Others stay.
    public func relinquish() {
        if case .file(let file) = storage { file.relinquish(startIndex..<endIndex) }
    }
}

extension ByteRegion: Equatable {
    /// The same bytes, wherever they lie.
    public static func == (left: ByteRegion, right: ByteRegion) -> Bool {
        guard left.count == right.count, !left.isEmpty else { return left.count == right.count }
        return left.withUnsafeBytes { one in
            right.withUnsafeBytes { other in
                guard let one = one.baseAddress, let other = other.baseAddress else { return false }
                return memcmp(one, other, left.count) == 0
            }
        }
    }
}
