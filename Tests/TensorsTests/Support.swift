import Tensors
import Testing

/// A file made by `Tests/Reference/safetensors_fixtures.py`.
func fixture(_ name: String) -> String {
    let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    return "\(folder)/Fixtures/\(name)"
}

/// The error that `body` throws, or nil.
func failure(of body: () throws -> Void) -> DeMLError? {
    do {
        try body()
        return nil
    } catch {
        return error as? DeMLError
    }
}

/// A folder of its own for each test, removed with what is in it.
func withScratch(_ body: (String) throws -> Void) throws {
    let folder = "/tmp/deml-tensors-tests-\(UInt64.random(in: .min ... .max))"
    try Files.createDirectory(folder)
    defer {
        for name in (try? Files.names(in: folder)) ?? [] { try? Files.remove(Files.path(folder, name)) }
        _ = removeFolder(folder)
    }
    try body(folder)
}

/// A safetensors file out of a header text and data, with the header's true length or another.
func rawFile(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
    let text = Array(header.utf8)
    return withUnsafeBytes(of: (length ?? UInt64(text.count)).littleEndian) { Array($0) } + text
        + [UInt8](repeating: 7, count: data)
}
