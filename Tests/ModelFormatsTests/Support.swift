import ModelFormats
import NeuralNetwork
import Tensors
import Testing

private let testFolder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()

/// The path of a file in Fixtures, which Tests/Reference/make_model_formats.py makes.
func fixture(_ name: String) -> String {
    (testFolder + ["Fixtures", name[...]]).joined(separator: "/")
}

func bytes(of name: String) throws -> [UInt8] {
    try Files.read(fixture(name), maximumBytes: 1 << 24)
}

/// The error that a body throws.
func refusal(_ body: () throws -> Void) -> DeMLError? {
    do {
        try body()
        return nil
    } catch {
        return error as? DeMLError
    }
}

/// The largest difference of two tensors' numbers.
func difference(_ first: Tensor, _ second: Tensor) throws -> Float {
    let (left, right) = (try first.floats(), try second.floats())
    guard left.count == right.count else { return .infinity }
    return zip(left, right).reduce(0) { max($0, abs($1.0 - $1.1)) }
}
