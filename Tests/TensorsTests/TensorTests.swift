import Tensors
import TestSupport
import Testing

@Suite struct TensorTests {
    @Test func bytesMustFitTheShape() {
        #expect(failure { _ = try Tensor(dtype: .f32, shape: [2], bytes: [0, 0, 0, 0]) }?.code == .shape)
        #expect(failure { _ = try Tensor(dtype: .f32, shape: [-1], bytes: []) }?.code == .shape)
        #expect(failure { _ = try Tensor(dtype: .f64, shape: [1 << 40, 1 << 40], bytes: []) }?.code == .shape)
        #expect(failure { _ = try Tensor(dtype: .f64, shape: [Int.max], bytes: []) }?.code == .shape)
        // A 0 does not excuse the others: the elements of a row could not be counted.
        #expect(failure { _ = try Tensor(dtype: .u8, shape: [0, 1 << 40, 1 << 40], bytes: []) }?.code == .shape)
        #expect(failure { _ = try Tensor(dtype: .f32, shape: [0, .max], bytes: []) }?.code == .shape)
    }

    /// The constant is from `Tests/Reference/safetensors_fixtures.py`: numpy's conversion of all 65,536 halves.
    @Test func everyHalfIsThatOfNumpy() throws {
        let bytes = (0..<65_536).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
        var floats = try Tensor(dtype: .f16, shape: [65_536], bytes: bytes[...]).floats()
        for index in floats.indices where floats[index].isNaN { floats[index] = 0 }
        let digest = floats.withUnsafeBytes { sha256Hex(Array($0)) }
        #expect(digest == "faa6d965574036872b0d39a42d1f8bee361d5be92b1e718155a69556a5abacdd")
    }

    @Test func unalignedStorageIsRead() throws {
        let values: [Float] = [1, -2.5, 3e30, 0]
        for offset in 0..<8 {
            let bytes = [UInt8](repeating: 9, count: offset) + values.withUnsafeBytes { Array($0) }
            let tensor = try Tensor(dtype: .f32, shape: [4], bytes: bytes[offset...])
            #expect(try tensor.floats() == values, "offset \(offset)")
            #expect(try tensor.withUnsafeFloats { Array($0) } == values, "offset \(offset)")
        }
    }

    @Test func rowsAreSlices() throws {
        let tensor = Tensor(shape: [5, 2], floats: (0..<10).map(Float.init))
        #expect(try tensor.rows(1..<3).floats() == [2, 3, 4, 5])
        #expect(tensor.rows(1..<3).shape == [2, 2])
        #expect(tensor.rows(2..<2).shape == [0, 2])
        #expect(try tensor.rows(1..<5).rows(1..<3).floats() == [4, 5, 6, 7])
        #expect(try tensor.rows(1..<4).gatherRows([2, 0, 0]).floats() == [6, 7, 2, 3, 2, 3])
        #expect(tensor.gatherRows([]).shape == [0, 2])
        #expect(Tensor(shape: [3, 0], floats: []).gatherRows([2, 1]).shape == [2, 0])
    }

    @Test func reshaping() throws {
        let tensor = Tensor(shape: [2, 3], int32s: [1, 2, 3, 4, 5, 6])
        #expect(try tensor.reshaped([3, 2]).integers() == [1, 2, 3, 4, 5, 6])
        #expect(failure { _ = try tensor.reshaped([4]) }?.code == .shape)
    }

    @Test func conversionsKnowTheirTypes() throws {
        #expect(try Tensor(shape: [2], bytes: [0, 255]).floats() == [0, 255])
        #expect(try Tensor(shape: [2], doubles: [0.1, -1e300]).floats() == [0.1, -.infinity])
        #expect(try Tensor(shape: [1], int64s: [.min]).integers() == [.min])
        #expect(failure { _ = try Tensor(shape: [1], int64s: [1]).floats() }?.code == .dtype)
        #expect(failure { _ = try Tensor(shape: [1], floats: [1]).integers() }?.code == .dtype)
        #expect(failure { try Tensor(shape: [1], doubles: [1]).withUnsafeFloats { _ in } }?.code == .dtype)
    }

    @Test func theFirstNonFiniteElementIsFound() throws {
        for index in [0, 1, 1023, 1024, 1025, 4999] {
            for value in [Float.nan, .infinity, -.infinity, -.signalingNaN] {
                var floats = [Float](repeating: -1, count: 5000)
                floats[index] = value
                #expect(Tensor(shape: [5000], floats: floats).firstNonFinite() == index, "\(value) at \(index)")
                #expect(Tensor(shape: [5000], doubles: floats.map(Double.init)).firstNonFinite() == index)
            }
        }
        #expect(
            Tensor(shape: [2], floats: [.greatestFiniteMagnitude, -.leastNonzeroMagnitude]).firstNonFinite() == nil)
        #expect(try Tensor(dtype: .f16, shape: [2], bytes: [0, 0, 0, 0x7c]).firstNonFinite() == 1)
        #expect(try Tensor(dtype: .bf16, shape: [2], bytes: [0x7f, 0x7f, 0xc0, 0x7f]).firstNonFinite() == 1)
        #expect(Tensor(shape: [1], int64s: [-1]).firstNonFinite() == nil)
    }
}
