import Tensors

/// The file format of MNIST (http://yann.lecun.com/exdb/mnist, "The IDX file format"): two zero bytes, the type, the
/// number of dimensions, the dimensions as big-endian 32-bit integers, then the elements, big-endian.
public enum IDX {
    /// Reads the bytes of a file as stored, gzip or not. A gzip stream is expanded to the promised size and no further.
    public static func tensor(storedBytes bytes: [UInt8], maximumBytes: Int = 4 << 30) throws(DeMLError) -> Tensor {
        guard Gzip.isGzip(bytes) else { return try tensor(bytes, maximumBytes: maximumBytes) }
        let content = try Gzip.decompress(bytes, headerBytes: 4 + 4 * 255) { (prefix) throws(DeMLError) in
            let header = try Header(prefix)
            return try header.totalBytes(maximumBytes: maximumBytes)
        }
        return try tensor(content, maximumBytes: maximumBytes)
    }

    private static func tensor(_ bytes: [UInt8], maximumBytes: Int) throws(DeMLError) -> Tensor {
        let header = try Header(bytes)
        let total = try header.totalBytes(maximumBytes: maximumBytes)
        guard bytes.count >= total else {
            throw DeMLError(
                .truncated, "the header promises \(header.shape), \(total) bytes, but the file has \(bytes.count)")
        }
        guard bytes.count == total else {
            throw DeMLError(.malformed, "\(bytes.count - total) bytes follow the \(header.shape) of the header")
        }
        let content = bytes[header.byteCount...]
        if header.dtype.byteCount == 1 {
            return try Tensor(dtype: header.dtype, shape: header.shape, bytes: content)
        }
        return try Tensor(
            dtype: header.dtype, shape: header.shape, bytes: swapped(content, header.dtype.byteCount)[...])
    }

    private static func swapped(_ bytes: ArraySlice<UInt8>, _ size: Int) -> [UInt8] {
        makeArray(count: bytes.count) { target in
            bytes.withUnsafeBytes { source in
                for element in stride(from: 0, to: source.count, by: size) {
                    for byte in 0..<size {
                        target[element + byte] = source[element + size - 1 - byte]
                    }
                }
            }
        }
    }

    private struct Header {
        let dtype: DType
        let shape: [Int]

        var byteCount: Int { 4 + 4 * shape.count }

        init(_ bytes: [UInt8]) throws(DeMLError) {
            guard bytes.count >= 4 else {
                throw DeMLError(.truncated, "an IDX file has more than \(bytes.count) bytes")
            }
            guard bytes[0] == 0, bytes[1] == 0 else {
                throw DeMLError(.malformed, "an IDX file begins with two zero bytes")
            }
            switch bytes[2] {
            case 0x08: dtype = .u8
            case 0x09: dtype = .i8
            case 0x0b: dtype = .i16
            case 0x0c: dtype = .i32
            case 0x0d: dtype = .f32
            case 0x0e: dtype = .f64
            default: throw DeMLError(.dtype, "the IDX type \(bytes[2]) is unknown")
            }
            let dimensions = Int(bytes[3])
            guard dimensions > 0 else { throw DeMLError(.shape, "the IDX file has no dimension") }
            guard bytes.count >= 4 + 4 * dimensions else {
                throw DeMLError(.truncated, "the file ends within the \(dimensions) dimensions of its header")
            }
            shape = (0..<dimensions).map { dimension in
                bytes[(4 + 4 * dimension)..<(8 + 4 * dimension)].reduce(0) { $0 << 8 | Int($1) }
            }
        }

        func totalBytes(maximumBytes: Int) throws(DeMLError) -> Int {
            let size = elementCount(of: shape)?.multipliedReportingOverflow(by: dtype.byteCount)
            guard let size, !size.overflow, size.partialValue <= maximumBytes - byteCount else {
                throw DeMLError(
                    .tooLarge, "the header promises \(dtype.rawValue) \(shape), more than \(maximumBytes) bytes")
            }
            return byteCount + size.partialValue
        }
    }
}

/// The IDX files of a folder, told apart by their names: `train-images…`, `t10k-labels…` and the like.
struct IDXFolder {
    struct Pair {
        let images: String
        let labels: String

        func read(in folder: String, maximumBytes: Int) throws(DeMLError) -> Dataset.Part {
            func tensor(_ name: String) throws(DeMLError) -> Tensor {
                try DatasetSource.attempt(Files.path(folder, name)) { (path) throws(DeMLError) in
                    try IDX.tensor(
                        storedBytes: try Files.read(path, maximumBytes: maximumBytes), maximumBytes: maximumBytes)
                }
            }
            let part = Dataset.Part(x: try tensor(images), y: try tensor(labels))
            guard part.x.shape.first == part.y.shape.first, !part.x.shape.isEmpty, !part.y.shape.isEmpty else {
                throw DeMLError(
                    .mismatch, "there are \(part.x.shape[0]) images, but \(part.y.shape[0]) labels in \(labels)",
                    place: Files.path(folder, images))
            }
            return part
        }
    }

    let train: Pair
    let test: Pair?
    /// Files that are there uncompressed too.
    let skipped: [String]

    static func isPart(_ name: String) -> Bool {
        name.contains("idx") && (name.contains("images") || name.contains("labels"))
    }

    init(names: [String]) throws(DeMLError) {
        let all = names.filter(Self.isPart)
        let skipped = all.filter { $0.hasSuffix(".gz") && all.contains(String($0.dropLast(3))) }
        let parts = all.filter { !skipped.contains($0) }
        self.skipped = skipped
        func only(_ what: String, _ isSought: (String) -> Bool) throws(DeMLError) -> String? {
            let found = parts.filter { $0.contains(what) && isSought($0) }
            guard found.count <= 1 else {
                throw DeMLError(
                    .mismatch, "the folder has more than one file of \(what): \(found.joined(separator: ", "))",
                    hint: "keep one of them")
            }
            return found.first
        }
        func pair(_ set: String, _ isSought: (String) -> Bool) throws(DeMLError) -> Pair? {
            let images = try only("images", isSought)
            let labels = try only("labels", isSought)
            switch (images, labels) {
            case (let images?, let labels?): return Pair(images: images, labels: labels)
            case (nil, nil): return nil
            default:
                throw DeMLError(
                    .missing,
                    "the \(set) has \(images ?? labels ?? "") but no file of \(images == nil ? "images" : "labels")",
                    hint: "both belong into the folder, as train-images-idx3-ubyte and train-labels-idx1-ubyte")
            }
        }
        guard let train = try pair("training set", { $0.contains("train") }) else {
            throw DeMLError(.missing, "the folder has IDX files, but none of a training set (train-images-idx3-ubyte)")
        }
        self.train = train
        test = try pair("test set") { $0.contains("t10k") || ($0.contains("test") && !$0.contains("train")) }
    }
}
