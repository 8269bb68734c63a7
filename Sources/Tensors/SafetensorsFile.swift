#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// An uncompressed safetensors file whose tensors stay in the file and are read by rows: for one that is larger than
/// memory. It is held open, so that it can be read on after its name is gone.
///
/// Against a ``MappedFile``: a file that becomes shorter meanwhile is an error here and not the end of the program, and a
/// read is as large as what is asked for, on every file system.
public struct SafetensorsFile: Sendable {
    /// In the order of the file's header.
    public let tensors: [(name: String, tensor: StoredTensor)]
    public let metadata: [String: String]
    private let file: OpenFile

    /// Opens a file and checks its header. Throws what ``Safetensors/init(contentsOf:maximumBytes:mapping:)`` throws.
    public init(_ path: String) throws(DeMLError) {
        file = try OpenFile(path)
        do throws(DeMLError) {
            let file = file
            let prefix = try file.read(0..<min(8, file.count))
            let length = try SafetensorsHeader.length(prefix, maximum: 100_000_000)
            try SafetensorsHeader.check(length: length, fileBytes: file.count)
            let json = try file.read(8..<8 + length)
            let header = try json[...].withBytes { (json: UnsafeRawBufferPointer) throws(DeMLError) in
                try SafetensorsHeader(parsing: json)
            }
            let start = 8 + length
            try header.check(present: file.count - start)
            tensors = header.entries.map {
                (
                    $0.name,
                    StoredTensor(dtype: $0.dtype, shape: $0.shape, file: file, start: start + $0.range.lowerBound)
                )
            }
            metadata = header.metadata
        } catch {
            throw error.within(path)
        }
    }

    /// The tensor of the name.
    public subscript(name: String) -> StoredTensor? {
        tensors.first { $0.name == name }?.tensor
    }

    /// SHA-256 of the file's bytes, of the very file that is open.
    public func sha256() throws(DeMLError) -> String {
        var digest = SHA256Digest()
        var position = 0
        while position < file.count {
            let piece = try file.read(position..<min(position + 1 << 20, file.count))
            digest.update(piece)
            position += piece.count
        }
        return digest.hex()
    }
}

/// A tensor that is in its file. A row is an entry of the first dimension.
public struct StoredTensor: Sendable {
    public let dtype: DType
    public let shape: [Int]
    private let file: OpenFile
    private let start: Int

    fileprivate init(dtype: DType, shape: [Int], file: OpenFile, start: Int) {
        self.dtype = dtype
        self.shape = shape
        self.file = file
        self.start = start
    }

    /// Bytes of a row.
    public var rowBytes: Int { shape.dropFirst().reduce(dtype.byteCount, *) }

    /// Reads a range of rows. Throws `io`, and `truncated` where the file has become shorter.
    public func rows(_ range: Range<Int>) throws(DeMLError) -> Tensor {
        precondition(!shape.isEmpty && range.lowerBound >= 0 && range.upperBound <= shape[0], "rows out of range")
        let first = start + range.lowerBound * rowBytes
        let bytes = try file.read(first..<first + range.count * rowBytes)
        return try Tensor(dtype: dtype, shape: [range.count] + shape.dropFirst(), bytes: ByteRegion(bytes))
    }

    /// Reads the rows with the given numbers, in their order; those that lie one behind the other by one call.
    /// Throws as ``rows(_:)`` does.
    /// - Parameter room: as many bytes as the rows have.
    public func gatherRows(
        _ rows: UnsafeBufferPointer<Int64>, into room: UnsafeMutableRawBufferPointer
    ) throws(DeMLError) {
        let (size, limit) = (rowBytes, shape.first ?? 0)
        precondition(room.count >= rows.count * size, "there is no room for the rows")
        guard size > 0 else { return }
        var first = 0
        while first < rows.count {
            let row = Int(rows[first])
            var last = first + 1
            while last < rows.count, Int(rows[last]) == row + last - first { last += 1 }
            precondition(row >= 0 && row + last - first <= limit, "row \(row) of \(limit)")
            try file.read(
                at: start + row * size, into: UnsafeMutableRawBufferPointer(rebasing: room[first * size..<last * size]))
            first = last
        }
    }
}

/// A regular file that is open, to be read at any place by any number of threads.
private final class OpenFile: Sendable {
    let count: Int
    private let path: String
    private let descriptor: Int32

    /// Throws what ``Files/read(_:maximumBytes:)`` throws.
    init(_ path: String) throws(DeMLError) {
        (descriptor, count) = try Files.openRegular(path, maximumBytes: .max)
        self.path = path
    }

    deinit {
        close(descriptor)
    }

    func read(_ range: Range<Int>) throws(DeMLError) -> [UInt8] {
        try makeBytes(capacity: range.count) { (room) throws(DeMLError) in
            let room = UnsafeMutableRawBufferPointer(rebasing: room[..<range.count])
            try read(at: range.lowerBound, into: room)
            return room.count
        }
    }

    /// Fills the room. Throws `truncated` where the file ends before.
    func read(at offset: Int, into room: UnsafeMutableRawBufferPointer) throws(DeMLError) {
        var filled = 0
        while filled < room.count, let base = room.baseAddress {
            let got = pread(descriptor, base + filled, min(room.count - filled, 1 << 30), off_t(offset + filled))
            if got < 0 {
                if errno == EINTR { continue }
                throw Files.failure("it cannot be read", path, errno, reading: true)
            }
            guard got > 0 else {
                throw DeMLError(
                    .truncated, "the file ends at \(offset + filled) bytes, but had \(count) when it was opened",
                    place: path, hint: "nobody may write to a file that is in use")
            }
            filled += got
        }
    }
}
