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
