import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

private let testFolder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()

/// A file made by `Tests/Reference/dataset_fixtures.py`.
func fixture(_ name: String) -> String {
    (testFolder + ["Fixtures", name[...]]).joined(separator: "/")
}

/// The folder of MNIST in this repository.
let mnistFolder = (testFolder.dropLast(2) + ["requestor", "Datasets", "mnist"]).joined(separator: "/")

let examplesFolder = (testFolder.dropLast(2) + ["examples"]).joined(separator: "/")

/// The error that `body` throws, or nil.
func failure(of body: () throws -> Void) -> DeMLError? {
    do {
        try body()
        return nil
    } catch {
        return error as? DeMLError
    }
}

/// A folder of its own for each test, removed with the files in it.
func withScratch(_ body: (String) throws -> Void) throws {
    let folder = "/tmp/deml-datasets-tests-\(UInt64.random(in: .min ... .max))"
    try Files.createDirectory(folder)
    defer {
        for name in (try? Files.names(in: folder)) ?? [] { try? Files.remove(Files.path(folder, name)) }
        rmdir(folder)
    }
    try body(folder)
}

/// The bytes of an IDX file.
func idx(type: UInt8, shape: [Int], data: [UInt8]) -> [UInt8] {
    [0, 0, type, UInt8(shape.count)]
        + shape.flatMap {
            [
                UInt8(truncatingIfNeeded: $0 >> 24), UInt8(truncatingIfNeeded: $0 >> 16),
                UInt8(truncatingIfNeeded: $0 >> 8), UInt8(truncatingIfNeeded: $0),
            ]
        }
        + data
}
