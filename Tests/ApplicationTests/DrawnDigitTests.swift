import Application
import Testing

@Suite struct DrawnDigitTests {
    /// A 7 of `side` pixels at a place on white paper.
    private func seven(side: Int, x: Int, y: Int, paper: Int = 280, ink: Float = 0.1, light: Float = 0.95) -> Picture {
        var grey = [Float](repeating: light, count: paper * paper)
        let thick = max(1, side / 8)
        for row in 0..<side {
            let middle = side * 2 / 3 - row / 2
            for column in 0..<side * 2 / 3 where row < thick || abs(column - middle) < thick {
                grey[(y + row) * paper + x + column] = ink
            }
        }
        return Picture(width: paper, height: paper, grey: grey)
    }

    private func measured(_ pixels: [UInt8]) -> (left: Int, right: Int, top: Int, bottom: Int, x: Double, y: Double) {
        var (left, right, top, bottom, mass, x, y) = (28, -1, 28, -1, 0.0, 0.0, 0.0)
        for row in 0..<28 {
            for column in 0..<28 where pixels[row * 28 + column] > 0 {
                let value = Double(pixels[row * 28 + column])
                (left, right, top, bottom) = (
                    min(left, column), max(right, column), min(top, row), max(bottom, row)
                )
                mass += value
                x += value * (Double(column) + 0.5)
                y += value * (Double(row) + 0.5)
            }
        }
        return (left, right, top, bottom, x / mass, y / mass)
    }

    @Test(arguments: [40, 90, 200]) func itIsTwentyPixelsHighAndCentredByMass(side: Int) {
        let found = measured(DrawnDigit.pixels(of: seven(side: side, x: 9, y: 5), invert: false))
        #expect(found.bottom - found.top == 19)
        // Two thirds as wide as high.
        #expect(abs(found.right - found.left - 13) <= 1)
        #expect(abs(found.x - 14) <= 0.5 && abs(found.y - 14) <= 0.5)
    }

    @Test func itDoesNotMatterWhereItWasDrawn() {
        let first = DrawnDigit.pixels(of: seven(side: 80, x: 0, y: 0), invert: false)
        let second = DrawnDigit.pixels(of: seven(side: 80, x: 200, y: 120), invert: false)
        // At the border some of the paper is ink, which is a rounding of what the paper is like.
        #expect(zip(first, second).allSatisfy { abs(Int($0) - Int($1)) <= 1 })
        #expect(first.max() == 255)
    }

    @Test func paperMayBeGreyAndInkPaleOrLight() {
        let strong = DrawnDigit.pixels(of: seven(side: 80, x: 30, y: 40), invert: false)
        let pale = DrawnDigit.pixels(of: seven(side: 80, x: 30, y: 40, ink: 0.5, light: 0.8), invert: false)
        let light = DrawnDigit.pixels(of: seven(side: 80, x: 30, y: 40, ink: 0.9, light: 0.05), invert: false)
        for other in [pale, light] {
            #expect(zip(strong, other).allSatisfy { abs(Int($0) - Int($1)) <= 2 })
        }
    }

    @Test func anEmptySheetIsEmpty() {
        let sheet = Picture(width: 50, height: 40, grey: [Float](repeating: 0.93, count: 2000))
        #expect(DrawnDigit.pixels(of: sheet, invert: false).allSatisfy { $0 == 0 })
    }

    /// One pixel is all the ink there is.
    @Test func aDotIsNoCrash() {
        var grey = [Float](repeating: 1, count: 900)
        grey[0] = 0
        let pixels = DrawnDigit.pixels(of: Picture(width: 30, height: 30, grey: grey), invert: false)
        #expect(measured(pixels).bottom - measured(pixels).top == 19)
    }
}
