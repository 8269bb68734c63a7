extension Tensor {
    /// The elements as single precision: from F32, F16, BF16, F64 (rounded to nearest) and U8 (by value).
    /// Throws `dtype` for other types.
    public func floats() throws(DeMLError) -> [Float] {
        switch dtype {
        case .f32:
            return makeArray(count: count) { target in
                bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(target).copyMemory(from: $0) }
            }
        case .f64: return map(Double.self) { Float($0) }
        case .f16: return map(UInt16.self, Self.float(half:))
        case .bf16: return map(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
        case .u8: return map(UInt8.self) { Float($0) }
        default:
            throw DeMLError(.dtype, "floating-point numbers or U8 were expected, but the tensor is \(dtype.rawValue)")
        }
    }

    /// The elements as integers: from U8, I8, I16, I32, I64 and BOOL (0 or 1). Throws `dtype` for other types.
    public func integers() throws(DeMLError) -> [Int] {
        switch dtype {
        case .u8: return map(UInt8.self) { Int($0) }
        case .i8: return map(Int8.self) { Int($0) }
        case .i16: return map(Int16.self) { Int($0) }
        case .i32: return map(Int32.self) { Int($0) }
        case .i64: return map(Int64.self) { Int($0) }
        case .bool: return map(UInt8.self) { $0 == 0 ? 0 : 1 }
        default:
            throw DeMLError(.dtype, "integers were expected, but the tensor is \(dtype.rawValue)")
        }
    }

    /// The index of the first element that is NaN or infinite; nil for integers and where all are finite.
    public func firstNonFinite() -> Int? {
        switch dtype {
        case .f32: first(UInt32.self) { $0 & 0x7f80_0000 == 0x7f80_0000 }
        case .f64: first(UInt64.self) { $0 & 0x7ff0_0000_0000_0000 == 0x7ff0_0000_0000_0000 }
        case .f16: first(UInt16.self) { $0 & 0x7c00 == 0x7c00 }
        case .bf16: first(UInt16.self) { $0 & 0x7f80 == 0x7f80 }
        default: nil
        }
    }

    /// Every element through `convert`, from unaligned storage.
    @inline(__always)
    private func map<Stored: BitwiseCopyable, Result>(
        _: Stored.Type, _ convert: (Stored) -> Result
    ) -> [Result] {
        makeArray(count: count) { target in
            withElements(Stored.self) { element in
                for index in 0..<target.count {
                    target.initializeElement(at: index, to: convert(element(index)))
                }
            }
        }
    }

    /// The index of the first element for which `isSought`; whole blocks are tested without a branch, so that the
    /// compiler can use vector instructions.
    @inline(__always)
    private func first<Stored: FixedWidthInteger & BitwiseCopyable>(
        _: Stored.Type, _ isSought: (Stored) -> Bool
    ) -> Int? {
        let count = count
        return withElements(Stored.self) { element in
            var block = 0
            while block < count {
                let end = min(block &+ 1024, count)
                var found: Stored = 0
                for index in block..<end { found |= isSought(element(index)) ? 1 : 0 }
                if found != 0 { return (block..<end).first { isSought(element($0)) } }
                block = end
            }
            return nil
        }
    }

    /// Elements by their indices, which are not checked one by one: a branch for each forbids vector instructions.
    @inline(__always)
    private func withElements<Stored: BitwiseCopyable, Result>(
        _: Stored.Type, _ body: ((Int) -> Stored) -> Result
    ) -> Result {
        bytes.withUnsafeBytes { source in
            precondition(source.count >= count * MemoryLayout<Stored>.size)
            // Where there is no storage there is no index.
            let base = source.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
            return body { base.loadUnaligned(fromByteOffset: $0 &* MemoryLayout<Stored>.size, as: Stored.self) }
        }
    }

    /// IEEE 754 half precision by its bits; done here so that no machine or runtime library is asked.
    private static func float(half: UInt16) -> Float {
        let sign = UInt32(half & 0x8000) << 16
        let magnitude = UInt32(half & 0x7fff)
        if magnitude >= 0x7c00 {
            return Float(bitPattern: sign | 0x7f80_0000 | (magnitude & 0x3ff) << 13)
        }
        if magnitude < 0x0400 {
            let subnormal = Float(magnitude) * 0x1p-24
            return sign == 0 ? subnormal : -subnormal
        }
        return Float(bitPattern: sign | (magnitude << 13) + 0x3800_0000)
    }
}
