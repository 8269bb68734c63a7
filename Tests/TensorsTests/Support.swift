import Tensors
import Testing

/// A file made by `Tests/Reference/safetensors_fixtures.py`.
func fixture(_ name: String) -> String {
    let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    return "\(folder)/Fixtures/\(name)"
}

/// A safetensors file out of a header text and data, with the header's true length or another.
func rawFile(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
    let text = Array(header.utf8)
    return withUnsafeBytes(of: (length ?? UInt64(text.count)).littleEndian) { Array($0) } + text
        + [UInt8](repeating: 7, count: data)
}
