// Formats store little-endian numbers and every supported machine is little-endian: values are read as they lie.
#if _endian(big)
    #error("DeML reads tensors in place and needs a little-endian machine")
#endif

/// An array of at most `capacity` bytes that `body` fills in place; `body` returns how many it wrote.
package func makeBytes(
    capacity: Int, _ body: (UnsafeMutableRawBufferPointer) throws(DeMLError) -> Int
) throws(DeMLError) -> [UInt8] {
    var failure: DeMLError?
    let bytes = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
        do throws(DeMLError) {
            count = try body(UnsafeMutableRawBufferPointer(buffer))
        } catch {
            failure = error
            count = 0
        }
    }
    if let failure { throw failure }
    return bytes
}

/// An array of `count` values that `body` fills in place.
package func makeArray<Element>(
    count: Int, _ body: (UnsafeMutableBufferPointer<Element>) -> Void
) -> [Element] {
    [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
        body(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
        initialized = count
    }
}

extension ArraySlice where Element: BitwiseCopyable {
    /// The bytes in place, with the error type of `body` kept.
    package func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let outcome: Swift.Result<Result, Failure> = withUnsafeBytes { buffer in
            do throws(Failure) {
                return .success(try body(buffer))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }
}

/// The product of the dimensions. Nil where one is negative, or where the product of those that are not 0 exceeds what
/// `Int` counts in bytes of the widest type: then the size of a part of the shape, such as a row, would overflow.
package func elementCount(of shape: [Int]) -> Int? {
    var count = 1
    for dimension in shape {
        guard dimension >= 0 else { return nil }
        let (product, overflow) = count.multipliedReportingOverflow(by: max(dimension, 1))
        guard !overflow, product <= Int.max / 8 else { return nil }
        count = product
    }
    return shape.contains(0) ? 0 : count
}
