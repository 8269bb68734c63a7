/// A safetensors file: named tensors and text metadata. The one container of weights, shards, deltas and predictions.
/// Format: https://github.com/huggingface/safetensors.
public struct Safetensors: Sendable, Equatable {
    /// In the order of the file's header, or as given.
    public var tensors: [(name: String, tensor: Tensor)]
    public var metadata: [String: String]

    public init(tensors: [(name: String, tensor: Tensor)] = [], metadata: [String: String] = [:]) {
        self.tensors = tensors
        self.metadata = metadata
    }

    /// The tensor of the name. Setting replaces it, adds it at the end, or (nil) removes it.
    public subscript(name: String) -> Tensor? {
        get { tensors.first { $0.name == name }?.tensor }
        set {
            let index = tensors.firstIndex { $0.name == name }
            switch (index, newValue) {
            case (let index?, let tensor?): tensors[index].tensor = tensor
            case (let index?, nil): tensors.remove(at: index)
            case (nil, let tensor?): tensors.append((name, tensor))
            case (nil, nil): break
            }
        }
    }

    public static func == (left: Safetensors, right: Safetensors) -> Bool {
        left.metadata == right.metadata && left.tensors.elementsEqual(right.tensors, by: ==)
    }

    // MARK: - Reading

    /// Reads an uncompressed file. The tensors are slices of `bytes`.
    /// Throws `truncated`, `malformed`, `tooLarge` (header) or `dtype`, with the tensor as place.
    public init(decoding bytes: [UInt8], maximumHeaderBytes: Int = 100_000_000) throws(DeMLError) {
        try self.init(decoding: ByteRegion(bytes), maximumHeaderBytes: maximumHeaderBytes)
    }

    private init(decoding bytes: ByteRegion, maximumHeaderBytes: Int) throws(DeMLError) {
        let length = try SafetensorsHeader.length(bytes.prefix(8), maximum: maximumHeaderBytes)
        try SafetensorsHeader.check(length: length, fileBytes: bytes.count)
        let json = bytes[8..<8 + length]
        let header = try json.withUnsafeBytes { (json: UnsafeRawBufferPointer) throws(DeMLError) in
            try SafetensorsHeader(parsing: json)
        }
        try header.check(present: bytes.count - 8 - length)
        self.init(header, bytes, dataStart: 8 + length)
    }

    private init(_ header: SafetensorsHeader, _ bytes: ByteRegion, dataStart: Int) {
        tensors = header.entries.map { entry in
            let slice = bytes[dataStart + entry.range.lowerBound..<dataStart + entry.range.upperBound]
            return (entry.name, Tensor(unchecked: entry.dtype, entry.shape, slice))
        }
        metadata = header.metadata
    }

    /// Reads the bytes of a file as stored, gzip or not (recognised by content). A gzip stream is expanded into one
    /// buffer of exactly the size that the header promises, at most `maximumBytes`.
    public init(
        storedBytes bytes: [UInt8], maximumBytes: Int = 4 << 30, maximumHeaderBytes: Int = 100_000_000
    ) throws(DeMLError) {
        try self.init(
            stored: ByteRegion(bytes), maximumBytes: maximumBytes, maximumHeaderBytes: maximumHeaderBytes)
    }

    /// As ``init(storedBytes:maximumBytes:maximumHeaderBytes:)``, for bytes that lie anywhere.
    public init(
        stored bytes: ByteRegion, maximumBytes: Int, maximumHeaderBytes: Int = 100_000_000
    ) throws(DeMLError) {
        guard Gzip.isGzip(bytes) else {
            guard bytes.count <= maximumBytes || bytes.isMapped else {
                throw DeMLError(.tooLarge, "the file has \(bytes.count) bytes, more than the limit of \(maximumBytes)")
            }
            try self.init(decoding: bytes, maximumHeaderBytes: maximumHeaderBytes)
            return
        }
        var reader = try GzipReader(bytes)
        let prefix = try makeBytes(capacity: 8) { (room) throws(DeMLError) in try reader.read(into: room) }
        let length = try SafetensorsHeader.length(prefix, maximum: min(maximumHeaderBytes, maximumBytes))
        guard length / Gzip.maximumExpansion <= bytes.count else {
            throw DeMLError(.truncated, "the header length \(length) is beyond the end of the file")
        }
        let json = try makeBytes(capacity: length) { (room) throws(DeMLError) in try reader.read(into: room) }
        guard json.count == length else {
            throw DeMLError(.truncated, "the header length \(length) is beyond the end of the file")
        }
        let header = try json[...].withBytes { (json: UnsafeRawBufferPointer) throws(DeMLError) in
            try SafetensorsHeader(parsing: json)
        }
        guard header.dataBytes <= maximumBytes - length - 8 else {
            throw DeMLError(
                .tooLarge, "the tensors need \(header.dataBytes) bytes, more than the limit of \(maximumBytes)")
        }
        guard header.dataBytes / Gzip.maximumExpansion <= bytes.count else {
            throw DeMLError(
                .truncated,
                "the tensors need \(header.dataBytes) bytes, more than \(bytes.count) compressed bytes can give")
        }
        let data = try makeBytes(capacity: header.dataBytes) { (room) throws(DeMLError) in try reader.read(into: room) }
        guard data.count == header.dataBytes else {
            throw DeMLError(.truncated, "the tensors need \(header.dataBytes) bytes, but the file has \(data.count)")
        }
        guard try reader.isAtEnd() else {
            throw DeMLError(
                .tooLarge, "the gzip stream expands beyond the \(8 + length + data.count) bytes it promises")
        }
        self.init(header, ByteRegion(data), dataStart: 0)
    }

    /// Reads a file; gzip is recognised by content. Errors have the path as place.
    ///
    /// `mapping`: the tensors of an uncompressed file stay in the file and are read when they are touched, see
    /// ``MappedFile``, also for when that may be asked for. Such a file may have any size; `maximumBytes` is then only for
    /// what a compressed one expands to.
    public init(
        contentsOf path: String, maximumBytes: Int = 4 << 30, mapping: Bool = false
    ) throws(DeMLError) {
        let bytes = try Self.stored(path, maximumBytes: maximumBytes, mapping: mapping)
        do throws(DeMLError) {
            try self.init(stored: bytes, maximumBytes: maximumBytes)
        } catch {
            throw error.within(path)
        }
    }

    /// Reads a file and gives the SHA-256 of its bytes as stored. `mapping`: as in
    /// ``init(contentsOf:maximumBytes:mapping:)``.
    public static func load(
        _ path: String, maximumBytes: Int = 4 << 30, mapping: Bool = false
    ) throws(DeMLError) -> (file: Safetensors, sha256: String) {
        let bytes = try stored(path, maximumBytes: maximumBytes, mapping: mapping)
        do throws(DeMLError) {
            return (try Safetensors(stored: bytes, maximumBytes: maximumBytes), bytes.sha256())
        } catch {
            throw error.within(path)
        }
    }

    /// SHA-256 of a file's bytes as stored (gzip included), as it stands in options, reports and metadata. Takes little
    /// memory, whatever the file's size.
    public static func digestOfContents(of path: String, maximumBytes: Int = .max) throws(DeMLError) -> String {
        try Files.sha256(of: path, maximumBytes: maximumBytes)
    }

    private static func stored(_ path: String, maximumBytes: Int, mapping: Bool) throws(DeMLError) -> ByteRegion {
        // What is too large to be read is not too large to be mapped.
        mapping && (MappedFile.isWorthIt(path) || (Files.size(of: path) ?? 0) > maximumBytes)
            ? ByteRegion(try MappedFile(path))
            : ByteRegion(try Files.read(path, maximumBytes: maximumBytes))
    }

    // MARK: - Writing

    /// The file's bytes. They depend on names, tensors and metadata alone, not on their order: tensors are laid out by
    /// alignment, then by name, as the reference implementation does, and the header is padded with spaces to a
    /// multiple of 8, so that every tensor is aligned in the file. Two tensors of one name are a programmer's mistake.
    public func encoded() -> [UInt8] {
        let (head, sorted) = layout()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(head.count + sorted.reduce(0) { $0 + $1.bytes.count })
        bytes += head
        for tensor in sorted { tensor.bytes.withUnsafeBytes { bytes.append(contentsOf: $0) } }
        return bytes
    }

    /// Writes the file, gzip-compressed where the name ends in `.gz`, by a ``DurableFile``: straight from the tensors,
    /// without another copy of them. Returns the SHA-256 of the bytes as stored.
    /// - Parameters:
    ///   - rows: only these rows of every tensor, in this order, without a copy of them all; nil: the tensors whole.
    ///   - threads: that compress; the bytes are the same for any number.
    ///   - deflater: that compresses.
    @discardableResult
    public func write(
        to path: String, rows: [Int]? = nil, threads: Int? = nil, deflater: BlockDeflater = .zlib
    ) throws(DeMLError) -> String {
        let file = try DurableFile(path)
        if path.hasSuffix(".gz") {
            let threads = threads ?? availableProcessors()
            var gzip = try BlockGzip(threads: threads, deflater: deflater) { (bytes) throws(DeMLError) in
                try file.write(bytes)
            }
            try eachPiece(rows) { (bytes) throws(DeMLError) in try gzip.append(bytes) }
            try gzip.finish()
        } else {
            try eachPiece(rows) { (bytes) throws(DeMLError) in try file.write(bytes) }
        }
        return try file.commit()
    }

    /// The bytes of the file, one piece after the other.
    private func eachPiece(
        _ rows: [Int]?, _ body: (UnsafeRawBufferPointer) throws(DeMLError) -> Void
    ) throws(DeMLError) {
        let (head, sorted) = layout(rows: rows?.count)
        try head[...].withBytes(body)
        for tensor in sorted {
            if let rows { try tensor.eachPiece(ofRows: rows, body) } else { try tensor.withUnsafeBytes(body) }
        }
    }

    /// What stands before the data, and the tensors in the order of their data.
    /// - Parameter rows: so many of every tensor; nil: all.
    private func layout(rows: Int? = nil) -> (head: [UInt8], tensors: [Tensor]) {
        let sorted = tensors.sorted {
            $0.tensor.dtype == $1.tensor.dtype
                ? $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) : $0.tensor.dtype.rank > $1.tensor.dtype.rank
        }
        precondition(Set(sorted.map(\.name)).count == sorted.count, "two tensors of one name")
        var members: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                .map { "\(Self.quoted($0.key)):\(Self.quoted($0.value))" }
            members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
        }
        var position = 0
        for (name, tensor) in sorted {
            let shape = rows.map { [$0] + tensor.shape.dropFirst() } ?? tensor.shape
            let end = position + shape.reduce(tensor.dtype.byteCount, *)
            members.append(
                "\(Self.quoted(name)):{\"dtype\":\"\(tensor.dtype.rawValue)\","
                    + "\"shape\":[\(shape.map(String.init).joined(separator: ","))],"
                    + "\"data_offsets\":[\(position),\(end)]}")
            position = end
        }
        var header = Array("{\(members.joined(separator: ","))}".utf8)
        header += repeatElement(UInt8(ascii: " "), count: (8 - header.count % 8) % 8)

        let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
        return (length + header, sorted.map(\.tensor))
    }

    /// A JSON string as serde_json writes it.
    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case "\u{8}": quoted += "\\b"
            case "\u{c}": quoted += "\\f"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
