import Tensors
import Testing

@Suite("Elements at strides")
struct StridedBytesTests {
    /// Every order of the axes of a tensor of four, for elements of each width, against the definition.
    @Test(arguments: [DType.u8, .f16, .f32, .f64])
    func permutes(_ dtype: DType) throws {
        let shape = [2, 3, 1, 5]
        let width = dtype.byteCount
        let bytes = (0..<30 * width).map { UInt8(truncatingIfNeeded: $0 &* 37) }
        let tensor = try Tensor(dtype: dtype, shape: shape, bytes: bytes[...])
        for axes in orders([0, 1, 2, 3]) {
            let turned = try tensor.permuted(axes)
            #expect(turned.shape == axes.map { shape[$0] })
            var expected: [UInt8] = []
            for place in 0..<30 {
                var (rest, index) = (place, [0, 0, 0, 0])
                for axis in [3, 2, 1, 0] {
                    index[axes[axis]] = rest % turned.shape[axis]
                    rest /= turned.shape[axis]
                }
                let element = ((index[0] * 3 + index[1]) * 1 + index[2]) * 5 + index[3]
                expected += bytes[element * width..<(element + 1) * width]
            }
            #expect(Array(turned.bytes) == expected, "order \(axes)")
        }
    }

    private func orders(_ axes: [Int]) -> [[Int]] {
        axes.isEmpty ? [[]] : axes.flatMap { first in orders(axes.filter { $0 != first }).map { [first] + $0 } }
    }

    @Test func repeatsAndCuts() {
        let region = ByteRegion([10, 11, 12, 13, 14, 15])
        #expect(region.gathered(width: 1, shape: [2, 3], strides: [0, 2], offset: 1) == [11, 13, 15, 11, 13, 15])
        #expect(region.gathered(width: 2, shape: [2], strides: [2]) == [10, 11, 14, 15])
        #expect(region.gathered(width: 2, shape: [], strides: [], offset: 1) == [12, 13])
        #expect(region.gathered(width: 1, shape: [3, 0], strides: [1, 1]) == [])
    }

    @Test func refusesOrdersThatAreNone() throws {
        let tensor = Tensor(shape: [2, 2], floats: [1, 2, 3, 4])
        #expect(throws: DeMLError.self) { try tensor.permuted([0, 0]) }
        #expect(throws: DeMLError.self) { try tensor.permuted([0]) }
        #expect(try tensor.permuted([1, 0]) == Tensor(shape: [2, 2], floats: [1, 3, 2, 4]))
    }
}
