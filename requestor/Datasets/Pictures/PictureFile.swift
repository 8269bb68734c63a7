import CPictures
import Tensors

/// A PNG or JPEG picture, 8 bits a sample, row by row, channels last: 1 channel (grey) or 3 (red, green, blue).
package struct PictureFile {
    package let width: Int
    package let height: Int
    package let channels: Int
    package let pixels: [UInt8]

    /// Larger ones are no examples for a model.
    static let maximumSide = 8192
    /// Limit of a file.
    static let maximumBytes = 256 << 20

    package static func isPicture(_ start: some Collection<UInt8>) -> Bool {
        start.starts(with: [0x89, 0x50, 0x4e, 0x47]) || start.starts(with: [0xff, 0xd8, 0xff])
    }

    static func isName(_ name: String) -> Bool {
        let name = name.lowercased()
        return [".png", ".jpg", ".jpeg"].contains { name.hasSuffix($0) }
    }

    /// Throws `malformed` where the file is no whole picture.
    package init(_ bytes: [UInt8]) throws(DeMLError) {
        var picture = deml_picture()
        var message = [CChar](repeating: 0, count: 256)
        let status = bytes.withUnsafeBufferPointer {
            deml_picture_decode($0.baseAddress, $0.count, Int32(Self.maximumSide), &picture, &message, message.count)
        }
        defer { deml_picture_free(&picture) }
        guard status == 0, let pixels = picture.pixels else {
            let text = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw DeMLError(
                .malformed, "the picture cannot be read: \(text)", hint: "save it anew, or take it out of the folder")
        }
        (width, height, channels) = (Int(picture.width), Int(picture.height), Int(picture.channels))
        self.pixels = Array(UnsafeBufferPointer(start: pixels, count: width * height * channels))
    }

    /// The picture as `[channels, height, width]`, averaged over the area that each pixel covers; grey is the mean of the
    /// colours, weighted as the eye does (ITU-R BT.601).
    package func scaled(to shape: [Int]) -> [UInt8] {
        let (planes, rows, columns) = (shape[0], shape[1], shape[2])
        let vertical = Self.spans(rows, over: height)
        let horizontal = Self.spans(columns, over: width)
        var result = [UInt8](repeating: 0, count: planes * rows * columns)
        for row in 0..<rows {
            for column in 0..<columns {
                var sums: (Float, Float, Float) = (0, 0, 0)
                var weights: Float = 0
                for (y, high) in vertical[row] {
                    for (x, wide) in horizontal[column] {
                        let weight = high * wide
                        let place = (y * width + x) * channels
                        weights += weight
                        sums.0 += weight * Float(pixels[place])
                        if channels == 3 {
                            sums.1 += weight * Float(pixels[place + 1])
                            sums.2 += weight * Float(pixels[place + 2])
                        }
                    }
                }
                if channels == 1 { sums = (sums.0, sums.0, sums.0) }
                let colours = [sums.0 / weights, sums.1 / weights, sums.2 / weights]
                for plane in 0..<planes {
                    let value =
                        planes == 3 ? colours[plane] : 0.299 * colours[0] + 0.587 * colours[1] + 0.114 * colours[2]
                    result[(plane * rows + row) * columns + column] = UInt8(max(0, min(255, value.rounded())))
                }
            }
        }
        return result
    }

    /// For each target pixel the source pixels it covers, and how much of each.
    private static func spans(_ target: Int, over source: Int) -> [[(Int, Float)]] {
        (0..<target).map { index in
            let start = Double(index) * Double(source) / Double(target)
            let end = Double(index + 1) * Double(source) / Double(target)
            return (Int(start)..<max(Int(start) + 1, min(source, Int(end.rounded(.up))))).map { pixel in
                (pixel, Float(max(min(end, Double(pixel + 1)) - max(start, Double(pixel)), 1e-6)))
            }
        }
    }
}
