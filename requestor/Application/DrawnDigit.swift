import Datasets
import NeuralNetwork
import Tensors

/// A drawn digit as MNIST has digits: fitted into 20 x 20 pixels with its proportions kept, then put into 28 x 28 so that the
/// centre of its mass is the centre (LeCun, Cortes and Burges, yann.lecun.com/exdb/mnist). A model that has seen nothing else
/// takes a plain 7 in a corner for something else.
package enum DrawnDigit {
    private static let side = 28
    private static let box = 20

    static func suits(_ shape: [Int]) -> Bool { shape == [1, side, side] || shape == [side, side] }

    /// Whether the model was made for digits: ten classes with their names. Clothes have the same shape and are no digits.
    static func isKnown(to model: ModelArgument) -> Bool {
        guard model.schema.classNames == (0...9).map(String.init) else { return false }
        let data = (try? model.run?.readConfiguration().data.path) ?? ""
        return !(data + model.path).lowercased().contains("fashion")
    }

    /// 28 x 28 pixels, light ink on dark paper; all dark where nothing is drawn.
    package static func pixels(of picture: Picture, invert: Bool) -> [UInt8] {
        let (width, height) = (picture.width, picture.height)
        let isLight = picture.borderIsLight != invert
        let paper = isLight ? 1 - picture.borderMean : picture.borderMean
        var ink = picture.grey.map { max(0, (isLight ? 1 - $0 : $0) - paper) }
        let strongest = ink.max() ?? 0
        // Less than the noise of a scanner is nothing.
        guard strongest > 0.05 else { return [UInt8](repeating: 0, count: side * side) }
        ink = ink.map { $0 / strongest }

        // The smallest rectangle with all that is clearly ink.
        var (left, right, top, bottom) = (width, -1, height, -1)
        for y in 0..<height {
            for x in 0..<width where ink[y * width + x] > 0.2 {
                (left, right, top, bottom) = (min(left, x), max(right, x), min(top, y), max(bottom, y))
            }
        }
        let (wide, high) = (right - left + 1, bottom - top + 1)
        let scale = Float(box) / Float(max(wide, high))
        let columns = max(1, Int((Float(wide) * scale).rounded()))
        let rows = max(1, Int((Float(high) * scale).rounded()))
        var cut = Picture(width: wide, height: high, grey: [])
        for y in top...bottom { cut.grey += ink[y * width + left...y * width + right] }
        let small = cut.resized(rows, columns)

        var (mass, x, y) = (Float(0), Float(0), Float(0))
        for row in 0..<rows {
            for column in 0..<columns {
                let value = small[row * columns + column]
                mass += value
                x += value * (Float(column) + 0.5)
                y += value * (Float(row) + 0.5)
            }
        }
        let middle = Float(side) / 2
        let shiftX = min(max(0, Int((middle - x / mass).rounded())), side - columns)
        let shiftY = min(max(0, Int((middle - y / mass).rounded())), side - rows)
        var result = [UInt8](repeating: 0, count: side * side)
        for row in 0..<rows {
            for column in 0..<columns {
                let value = min(1, max(0, small[row * columns + column]))
                let place = (row + shiftY) * side + column + shiftX
                result[place] = UInt8((value * 255).rounded())
            }
        }
        return result
    }
}
