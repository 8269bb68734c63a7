/// Where the elements of an array at strides lie, in the order in which they are stored without: the last index fastest.
///
/// - Parameters:
///   - strides: elements from one index to the next, for each axis of `shape`; 0 repeats, and one below 0 goes back.
///   - offset: of the first element, in elements.
@inline(__always)
package func eachPlace(_ shape: [Int], strides: [Int], offset: Int = 0, _ body: (Int) -> Void) {
    var index = [Int](repeating: 0, count: shape.count)
    var element = offset
    for _ in 0..<shape.reduce(1, *) {
        body(element)
        var axis = shape.count - 1
        while axis >= 0 {
            index[axis] += 1
            element += strides[axis]
            if index[axis] < shape[axis] { break }
            element -= shape[axis] * strides[axis]
            index[axis] = 0
            axis -= 1
        }
    }
}

extension ByteRegion {
    /// Elements at strides, one after the other: a transposed, broadcast or cut tensor as it would be stored.
    ///
    /// - Parameters:
    ///   - width: bytes of an element.
    ///   - strides: elements from one index to the next, for each axis of `shape`; 0 repeats.
    ///   - offset: of the first element, in elements.
    /// - Precondition: every element lies in the region.
    package func gathered(width: Int, shape: [Int], strides: [Int], offset: Int = 0) -> [UInt8] {
        let count = shape.reduce(1, *)
        guard count > 0 else { return [] }
        // The last axis is a loop of its own: its steps are all alike.
        let (inner, step) = (shape.last ?? 1, (strides.last ?? 0) * width)
        precondition(offset >= 0 && strides.allSatisfy { $0 >= 0 })
        precondition((offset + zip(shape, strides).reduce(0) { $0 + ($1.0 - 1) * $1.1 } + 1) * width <= self.count)
        return withUnsafeBytes { source in
            [UInt8](unsafeUninitializedCapacity: count * width) { target, filled in
                var to = UnsafeMutableRawPointer(target.baseAddress!)
                let from = source.baseAddress!
                eachPlace(Array(shape.dropLast()), strides: Array(strides.dropLast()), offset: offset) { element in
                    var place = from + element * width
                    if width == 4 {
                        for _ in 0..<inner {
                            to.copyMemory(from: place, byteCount: 4)
                            (to, place) = (to + 4, place + step)
                        }
                    } else {
                        for _ in 0..<inner {
                            to.copyMemory(from: place, byteCount: width)
                            (to, place) = (to + width, place + step)
                        }
                    }
                }
                filled = count * width
            }
        }
    }
}

extension Tensor {
    /// The same numbers with their axes in another order, stored so: `permute` of torch, `transpose` of numpy.
    package func permuted(_ axes: [Int]) throws(DeMLError) -> Tensor {
        guard axes.sorted() == Array(shape.indices) else {
            throw DeMLError(.shape, "the order of axes \(axes) is none of the shape \(shape)")
        }
        guard axes != axes.sorted() else { return self }
        var strides = [Int](repeating: 1, count: axes.count)
        for axis in axes.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * shape[axis + 1] }
        let turned = axes.map { shape[$0] }
        let gathered = bytes.gathered(width: dtype.byteCount, shape: turned, strides: axes.map { strides[$0] })
        return try Tensor(dtype: dtype, shape: turned, bytes: ByteRegion(gathered))
    }
}
