import Tensors

/// A picture out of a PNG (8 bits a sample, grey, RGB or palette, with or without alpha, not interlaced) or PGM file, as
/// grey values: so that a digit drawn by hand can be tried.
///
/// PNG: Portable Network Graphics specification, second edition (ISO/IEC 15948), chapters 5 to 11.
package struct Picture {
    var width: Int
    var height: Int
    /// 0 (black) to 1 (white), row by row.
    var grey: [Float]

    /// Larger pictures are no examples for a model.
    static let maximumSide = 8192

    static func isPicture(_ start: [UInt8]) -> Bool {
        start.starts(with: pngSignature) || start.starts(with: [UInt8(ascii: "P"), UInt8(ascii: "5")])
    }

    private static let pngSignature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

    package init(width: Int, height: Int, grey: [Float]) {
        self.width = width
        self.height = height
        self.grey = grey
    }

    init(_ bytes: [UInt8]) throws(DeMLError) {
        if bytes.starts(with: Self.pngSignature) { try self.init(png: bytes) } else { try self.init(pgm: bytes) }
    }

    // MARK: For a model

    /// One example `[1, channels, height, width]` of U8: averaged to the model's size, light ink on dark paper as MNIST
    /// has it. Paper is what the border has most of; `invert` says the opposite.
    func tensor(shape: [Int], invert: Bool) throws(DeMLError) -> Tensor {
        let channels = shape.count == 3 ? shape[0] : 1
        guard shape.count == 2 || (shape.count == 3 && (channels == 1 || channels == 3)) else {
            throw DeMLError(.shape, "the model takes \(shape) and no pictures")
        }
        let (rows, columns) = (shape[shape.count - 2], shape[shape.count - 1])
        var values = resized(rows, columns)
        if borderIsLight != invert { values = values.map { 1 - $0 } }
        let plane = values.map { UInt8(($0 * 255).rounded()) }
        return try Tensor(
            dtype: .u8, shape: [1] + shape, bytes: Array(repeating: plane, count: channels).flatMap { $0 }[...])
    }

    var borderIsLight: Bool { borderMean > 0.5 }

    /// Of the outermost pixels: what the paper is like.
    var borderMean: Float {
        var sum: Float = 0
        var count: Float = 0
        for row in 0..<height {
            for column in 0..<width where row == 0 || column == 0 || row == height - 1 || column == width - 1 {
                sum += grey[row * width + column]
                count += 1
            }
        }
        return sum / count
    }

    /// Each target pixel is the mean of the area it covers.
    func resized(_ rows: Int, _ columns: Int) -> [Float] {
        var result = [Float](repeating: 0, count: rows * columns)
        for row in 0..<rows {
            let (top, bottom) = Self.span(row, of: rows, over: height)
            for column in 0..<columns {
                let (left, right) = Self.span(column, of: columns, over: width)
                var sum: Float = 0
                var area: Float = 0
                for y in Int(top)..<min(height, Int(bottom.rounded(.up))) {
                    let weightY = min(bottom, Float(y + 1)) - max(top, Float(y))
                    for x in Int(left)..<min(width, Int(right.rounded(.up))) {
                        let weight = weightY * (min(right, Float(x + 1)) - max(left, Float(x)))
                        sum += weight * grey[y * width + x]
                        area += weight
                    }
                }
                result[row * columns + column] = area > 0 ? min(1, max(0, sum / area)) : 0
            }
        }
        return result
    }

    private static func span(_ index: Int, of count: Int, over length: Int) -> (Float, Float) {
        (Float(index) * Float(length) / Float(count), Float(index + 1) * Float(length) / Float(count))
    }

    // MARK: PGM

    /// `P5 width height maximum`, one white space, one byte a pixel; `#` begins a comment.
    private init(pgm bytes: [UInt8]) throws(DeMLError) {
        var position = 2
        func number() throws(DeMLError) -> Int {
            while position < bytes.count {
                if bytes[position] == UInt8(ascii: "#") {
                    while position < bytes.count, bytes[position] != 10 { position += 1 }
                } else if [9, 10, 11, 12, 13, 32].contains(bytes[position]) {
                    position += 1
                } else {
                    break
                }
            }
            var value = 0
            let first = position
            while position < bytes.count, (48...57).contains(bytes[position]), value < 1_000_000 {
                value = value * 10 + Int(bytes[position] - 48)
                position += 1
            }
            guard position > first else { throw DeMLError(.malformed, "the header of the PGM picture is damaged") }
            return value
        }
        let (width, height, maximum) = (try number(), try number(), try number())
        position += 1
        try Self.check(width, height)
        guard (1...255).contains(maximum) else {
            throw DeMLError(.malformed, "a PGM picture with the maximum \(maximum) is not supported, only up to 255")
        }
        guard bytes.count - position >= width * height else {
            throw DeMLError(
                .truncated, "the PGM picture has \(max(0, bytes.count - position)) of \(width * height) pixels")
        }
        self.width = width
        self.height = height
        grey = bytes[position..<position + width * height].map { min(1, Float($0) / Float(maximum)) }
    }

    private static func check(_ width: Int, _ height: Int) throws(DeMLError) {
        guard (1...maximumSide).contains(width), (1...maximumSide).contains(height) else {
            throw DeMLError(
                .tooLarge, "a picture of \(width) x \(height) pixels; each side is to be 1 to \(maximumSide)")
        }
    }

    // MARK: PNG

    private init(png bytes: [UInt8]) throws(DeMLError) {
        func word(_ position: Int) -> Int { bytes[position..<position + 4].reduce(0) { $0 << 8 | Int($1) } }
        var position = 8
        var header: ArraySlice<UInt8> = []
        var palette: ArraySlice<UInt8> = []
        var compressed: [UInt8] = []
        var ended = false
        while !ended {
            guard bytes.count - position >= 12, bytes.count - position - 12 >= word(position) else {
                throw DeMLError(.truncated, "the PNG picture ends in the middle")
            }
            let length = word(position)
            let body = bytes[position + 8..<position + 8 + length]
            guard crc32(bytes[position + 4..<position + 8 + length]) == UInt32(word(position + 8 + length)) else {
                throw DeMLError(.malformed, "the PNG picture is damaged: a checksum does not fit")
            }
            switch bytes[position + 4..<position + 8] {
            case [0x49, 0x48, 0x44, 0x52]: header = body
            case [0x50, 0x4C, 0x54, 0x45]: palette = body
            case [0x49, 0x44, 0x41, 0x54]: compressed += body
            case [0x49, 0x45, 0x4E, 0x44]: ended = true
            default: break
            }
            position += 12 + length
        }
        guard header.count == 13 else { throw DeMLError(.malformed, "the PNG picture has no header") }
        let start = header.startIndex
        let (width, height) = (word(start), word(start + 4))
        try Self.check(width, height)
        let samples: [UInt8: Int] = [0: 1, 2: 3, 3: 1, 4: 2, 6: 4]
        guard header[start + 8] == 8, let channels = samples[header[start + 9]], header[start + 12] == 0 else {
            throw DeMLError(
                .malformed, "this kind of PNG is not supported", hint: "save it with 8 bits a channel, not interlaced")
        }
        let stride = width * channels
        guard compressed.count > 6 else { throw DeMLError(.truncated, "the PNG picture has no pixels") }
        // zlib's two bytes before and checksum after the deflate stream.
        let filtered = try Gzip.inflateRaw(compressed[2..<compressed.count - 4], count: height * (stride + 1))
        let pixels = try Self.unfiltered(filtered, rows: height, stride: stride, distance: channels)
        self.width = width
        self.height = height
        let colours = Array(palette)
        let type = header[start + 9]
        grey = (0..<width * height).map { index in
            let first = index * channels
            func light(_ red: UInt8, _ green: UInt8, _ blue: UInt8) -> Float {
                (0.299 * Float(red) + 0.587 * Float(green) + 0.114 * Float(blue)) / 255
            }
            // What is transparent shows white paper.
            func over(_ value: Float, _ alpha: UInt8) -> Float { value * Float(alpha) / 255 + 1 - Float(alpha) / 255 }
            switch type {
            case 0: return Float(pixels[first]) / 255
            case 2: return light(pixels[first], pixels[first + 1], pixels[first + 2])
            case 3:
                let entry = Int(pixels[first]) * 3
                return entry + 2 < colours.count ? light(colours[entry], colours[entry + 1], colours[entry + 2]) : 0
            case 4: return over(Float(pixels[first]) / 255, pixels[first + 1])
            default: return over(light(pixels[first], pixels[first + 1], pixels[first + 2]), pixels[first + 3])
            }
        }
    }

    /// Takes back the filter of each row (chapter 9): the prediction from the pixels to the left, above, and both.
    private static func unfiltered(_ bytes: [UInt8], rows: Int, stride: Int, distance: Int) throws(DeMLError) -> [UInt8]
    {
        guard bytes.count == rows * (stride + 1) else {
            throw DeMLError(.truncated, "the PNG picture has too few pixels")
        }
        var result = [UInt8](repeating: 0, count: rows * stride)
        for row in 0..<rows {
            let filter = bytes[row * (stride + 1)]
            guard filter <= 4 else { throw DeMLError(.malformed, "the PNG picture has an unknown filter") }
            for column in 0..<stride {
                let raw = bytes[row * (stride + 1) + 1 + column]
                let left = column >= distance ? Int(result[row * stride + column - distance]) : 0
                let above = row > 0 ? Int(result[(row - 1) * stride + column]) : 0
                let corner = row > 0 && column >= distance ? Int(result[(row - 1) * stride + column - distance]) : 0
                let guess: Int
                switch filter {
                case 1: guess = left
                case 2: guess = above
                case 3: guess = (left + above) / 2
                case 4:
                    let estimate = left + above - corner
                    let (a, b, c) = (abs(estimate - left), abs(estimate - above), abs(estimate - corner))
                    guess = a <= b && a <= c ? left : b <= c ? above : corner
                default: guess = 0
                }
                result[row * stride + column] = raw &+ UInt8(truncatingIfNeeded: guess)
            }
        }
        return result
    }
}
