/// A dense array of numbers: row-major, little-endian, a part of the file or array it came from (no copy is made).
public struct Tensor: Sendable, Equatable {
    public let dtype: DType
    public let shape: [Int]
    /// The elements as they are stored; possibly unaligned.
    public let bytes: ByteRegion

    /// Number of elements: the product of `shape`; 1 for a scalar.
    public var count: Int { bytes.count / dtype.byteCount }

    /// Elements in one row, a row being an entry of the first dimension.
    public var rowCount: Int { shape.dropFirst().reduce(1, *) }

    /// A tensor over `bytes`. Throws `shape` where the bytes are not exactly those of the shape.
    public init(dtype: DType, shape: [Int], bytes: ArraySlice<UInt8>) throws(DeMLError) {
        try self.init(dtype: dtype, shape: shape, bytes: ByteRegion(bytes))
    }

    /// A tensor over `bytes`. Throws `shape` where the bytes are not exactly those of the shape.
    public init(dtype: DType, shape: [Int], bytes: ByteRegion) throws(DeMLError) {
        guard let count = elementCount(of: shape), count <= Int.max / dtype.byteCount else {
            throw DeMLError(.shape, "the shape \(shape) is not one of a tensor that fits in memory")
        }
        guard bytes.count == count * dtype.byteCount else {
            let needed = count * dtype.byteCount
            throw DeMLError(
                .shape, "\(dtype.rawValue) \(shape) needs \(needed) bytes, but there are \(bytes.count)")
        }
        self.init(unchecked: dtype, shape, bytes)
    }

    init(unchecked dtype: DType, _ shape: [Int], _ bytes: ByteRegion) {
        self.dtype = dtype
        self.shape = shape
        self.bytes = bytes
    }

    private init<Element>(_ dtype: DType, _ shape: [Int], elements: [Element]) {
        precondition(elementCount(of: shape) == elements.count, "\(elements.count) elements for the shape \(shape)")
        let bytes = elements.withUnsafeBytes { [UInt8]($0) }
        self.init(unchecked: dtype, shape, ByteRegion(bytes))
    }

    /// F32, without a copy. The number of elements must be that of the shape.
    public init(shape: [Int], floats: [Float]) {
        self.init(shape: shape, floats: floats[...])
    }

    /// F32, without a copy. The number of elements must be that of the shape.
    public init(shape: [Int], floats: ArraySlice<Float>) {
        precondition(elementCount(of: shape) == floats.count, "\(floats.count) elements for the shape \(shape)")
        self.init(unchecked: .f32, shape, ByteRegion(floats))
    }

    /// F64. The number of elements must be that of the shape.
    public init(shape: [Int], doubles: [Double]) {
        self.init(.f64, shape, elements: doubles)
    }

    /// I64. The number of elements must be that of the shape.
    public init(shape: [Int], int64s: [Int64]) {
        self.init(.i64, shape, elements: int64s)
    }

    /// I32. The number of elements must be that of the shape.
    public init(shape: [Int], int32s: [Int32]) {
        self.init(.i32, shape, elements: int32s)
    }

    /// U8, without a copy. The number of bytes must be that of the shape.
    public init(shape: [Int], bytes: [UInt8]) {
        precondition(elementCount(of: shape) == bytes.count, "\(bytes.count) bytes for the shape \(shape)")
        self.init(unchecked: .u8, shape, ByteRegion(bytes))
    }

    /// The same elements in another shape, without a copy. Throws `shape` where the number of elements differs.
    public func reshaped(_ shape: [Int]) throws(DeMLError) -> Tensor {
        guard elementCount(of: shape) == count else {
            throw DeMLError(.shape, "\(count) elements of shape \(self.shape) cannot take the shape \(shape)")
        }
        return Tensor(unchecked: dtype, shape, bytes)
    }

    /// A range of the first dimension, without a copy.
    public func rows(_ range: Range<Int>) -> Tensor {
        precondition(!shape.isEmpty && range.lowerBound >= 0 && range.upperBound <= shape[0], "rows out of range")
        let stride = rowCount * dtype.byteCount
        let start = bytes.startIndex + range.lowerBound * stride
        return Tensor(
            unchecked: dtype, [range.count] + shape.dropFirst(), bytes[start..<start + range.count * stride])
    }

    /// The rows with the given numbers, in their order, copied.
    public func gatherRows(_ indices: [Int]) -> Tensor {
        let size = indices.count * rowCount * dtype.byteCount
        let gathered: [UInt8] = makeArray(count: size) { copyRows(indices[...], UnsafeMutableRawBufferPointer($0)) }
        return Tensor(unchecked: dtype, [indices.count] + shape.dropFirst(), ByteRegion(gathered))
    }

    /// Gives the bytes of the rows with the given numbers, in their order, some rows at a time.
    func eachPiece<Failure: Error>(
        ofRows indices: [Int], _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        let stride = max(1, rowCount * dtype.byteCount)
        // So little that it is still in the processor's nearest cache when it is copied on.
        let most = max(1, min(indices.count, (1 << 15) / stride))
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: most * stride, alignment: 64)
        defer { room.deallocate() }
        for start in Swift.stride(from: 0, to: indices.count, by: most) {
            let piece = indices[start..<min(start + most, indices.count)]
            let target = UnsafeMutableRawBufferPointer(rebasing: room[..<(piece.count * rowCount * dtype.byteCount)])
            copyRows(piece, target)
            try body(UnsafeRawBufferPointer(target))
        }
    }

    private func copyRows(_ indices: ArraySlice<Int>, _ target: UnsafeMutableRawBufferPointer) {
        precondition(!shape.isEmpty, "a scalar has no rows")
        let (stride, limit) = (rowCount * dtype.byteCount, shape[0])
        bytes.withUnsafeBytes { source in
            guard stride > 0, let source = source.baseAddress, var place = target.baseAddress else { return }
            for index in indices {
                precondition(index >= 0 && index < limit, "row \(index) of \(limit)")
                place.copyMemory(from: source + index * stride, byteCount: stride)
                place += stride
            }
        }
    }

    /// The stored bytes in place. They may be unaligned: use `loadUnaligned`.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try bytes.withUnsafeBytes(body)
    }

    /// Says that the elements are not needed for a while: see ``ByteRegion/relinquish()``.
    public func relinquish() {
        bytes.relinquish()
    }

    /// The elements of an F32 tensor: in place where they are aligned, else from a copy. Throws `dtype` for others.
    public func withUnsafeFloats<Result>(
        _ body: (UnsafeBufferPointer<Float>) throws(DeMLError) -> Result
    ) throws(DeMLError) -> Result {
        guard dtype == .f32 else {
            throw DeMLError(.dtype, "F32 was expected, but the tensor is \(dtype.rawValue)")
        }
        return try bytes.withUnsafeBytes { (raw: UnsafeRawBufferPointer) throws(DeMLError) -> Result in
            if Int(bitPattern: raw.baseAddress) % MemoryLayout<Float>.alignment == 0 {
                return try body(raw.assumingMemoryBound(to: Float.self))
            }
            let copy: ArraySlice<Float> = makeArray(count: raw.count / 4) { target in
                UnsafeMutableRawBufferPointer(target).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: raw[..<(raw.count / 4 * 4)]))
            }[...]
            let outcome: Swift.Result<Result, DeMLError> = copy.withUnsafeBufferPointer { buffer in
                do throws(DeMLError) {
                    return .success(try body(buffer))
                } catch {
                    return .failure(error)
                }
            }
            return try outcome.get()
        }
    }
}
