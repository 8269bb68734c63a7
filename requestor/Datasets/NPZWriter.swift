import Tensors

/// Writes arrays as `np.savez` does: a zip of stored `.npy` files (numpy.lib.format 1.0; APPNOTE.TXT of PKWARE). The bytes
/// depend on names and arrays alone: no times, no names of machines.
public struct NPZWriter {
    /// An array of a file.
    public enum Array: Sendable {
        case numbers(Tensor)
        /// `[N]` texts.
        case texts([String])
    }

    private let file: DurableFile
    private var directory = ZipDirectory()

    /// Throws what creating a file throws.
    public init(_ path: String) throws(DeMLError) {
        file = try DurableFile(path)
    }

    /// Adds an array; names are different. Throws `tooLarge` where the file leaves what a plain zip can hold, and what
    /// writing throws.
    public mutating func add(_ name: String, _ array: Array) throws(DeMLError) {
        let (type, shape, content) = try Self.content(array)
        let header = Self.header(type, shape)
        let bytes = header + content
        do throws(DeMLError) {
            try file.write(directory.add("\(name).npy", checksum: crc32(bytes[...]), count: bytes.count))
        } catch { throw error.at(file.path) }
        try file.write(bytes)
    }

    /// Completes the file.
    public func commit() throws(DeMLError) {
        try file.write(directory.end())
        try file.commit()
    }

    // MARK: npy

    private static func content(
        _ array: Array
    ) throws(DeMLError) -> (type: String, shape: [Int], bytes: [UInt8]) {
        switch array {
        case .numbers(let tensor):
            let type: String
            switch tensor.dtype {
            case .f32: type = "<f4"
            case .f64: type = "<f8"
            case .i32: type = "<i4"
            case .i64: type = "<i8"
            case .u8: type = "|u1"
            default:
                throw DeMLError(.dtype, "\(tensor.dtype.rawValue) has no writer for npz", hint: "write safetensors")
            }
            return (type, tensor.shape, Swift.Array(tensor.bytes))
        case .texts(let texts):
            // UTF-32, each as long as the longest.
            let scalars = texts.map { Swift.Array($0.unicodeScalars) }
            let length = max(1, scalars.map(\.count).max() ?? 1)
            var bytes: [UInt8] = []
            bytes.reserveCapacity(4 * length * texts.count)
            for text in scalars {
                for index in 0..<length {
                    bytes += Self.bytes(index < text.count ? Int(text[index].value) : 0, 4)
                }
            }
            return ("<U\(length)", [texts.count], bytes)
        }
    }

    private static func header(_ type: String, _ shape: [Int]) -> [UInt8] {
        let sizes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
        var text = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(sizes)), }"
        // The array begins at a multiple of 64.
        text += String(repeating: " ", count: (64 - (10 + text.utf8.count + 1) % 64) % 64) + "\n"
        return [0x93] + Swift.Array("NUMPY".utf8) + [1, 0] + bytes(text.utf8.count, 2) + Swift.Array(text.utf8)
    }

    private static func bytes(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
