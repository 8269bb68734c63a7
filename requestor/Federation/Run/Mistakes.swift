import Foundation
import NeuralNetwork
import Tensors

/// A picture of the test set that the last model was sure of and wrong about: an entry of `mistakes.json`.
public struct Mistake: Sendable, Equatable, Codable {
    /// Row of the test set, from 0.
    public var row: Int
    public var truth: Int
    public var predicted: Int
    /// What the model gave the class that it predicted, 0 to 1.
    public var probability: Double
    /// The picture as a PNG file in base64, 64 pixels a side at most.
    public var png: String
}

extension Mistake {
    /// So many are kept; with 64 pixels a side they are some kilobytes.
    package static let most = 12
    static let largestSide = 64
    /// Rows that are predicted together: the probabilities of all would take the memory of a model.
    private static let blockSize = 2048

    /// The surest mistakes, surest first; none where examples are no pictures or outputs no classes.
    ///
    /// - Parameter predict: probabilities `[N, classes]` of a part of the test set.
    package static func surest(
        of examples: Examples, shape: [Int], predict: (Examples) throws -> Tensor
    ) throws -> [Mistake] {
        guard let picture = PictureShape(shape), let labels = examples.labels else { return [] }
        var found: [(row: Int, predicted: Int, probability: Float)] = []
        for first in stride(from: 0, to: examples.count, by: blockSize) {
            let rows = Array(first..<min(first + blockSize, examples.count))
            let predictions = try predict(examples.subset(rows))
            let classes = predictions.count / max(1, rows.count)
            let values = try predictions.floats()
            for (index, row) in rows.enumerated() {
                let probabilities = values[index * classes..<(index + 1) * classes]
                guard let best = probabilities.indices.max(by: { probabilities[$0] < probabilities[$1] }) else {
                    continue
                }
                let predicted = best - index * classes
                if predicted != labels[row] { found.append((row, predicted, probabilities[best])) }
            }
            found.sort { ($1.probability, $0.row) < ($0.probability, $1.row) }
            found.removeLast(max(0, found.count - most))
        }
        return try found.map { mistake in
            let pixels = examples.x.rows(mistake.row..<mistake.row + 1)
            return Mistake(
                row: mistake.row, truth: labels[mistake.row], predicted: mistake.predicted,
                probability: Double(mistake.probability), png: Data(try picture.png(pixels)).base64EncodedString())
        }
    }
}

/// How the numbers of an example are a picture: `[height, width]`, or grey or colours first.
package struct PictureShape {
    var channels: Int
    var height: Int
    var width: Int

    package init?(_ shape: [Int]) {
        switch shape.count {
        case 2: (channels, height, width) = (1, shape[0], shape[1])
        case 3 where shape[0] == 1 || shape[0] == 3: (channels, height, width) = (shape[0], shape[1], shape[2])
        default: return nil
        }
        // A series of numbers, or something nobody would call a picture.
        guard min(height, width) >= 4, max(height, width) <= 4096 else { return nil }
    }

    /// A PNG file of an example `[1, …shape]`; a large one is made smaller by the mean of whole blocks of pixels.
    package func png(_ example: Tensor) throws(DeMLError) -> [UInt8] {
        let values = try example.floats()
        // Bytes are 0 to 255. Other numbers are 0 to 1 where they may be that, else they span the shades from dark to light.
        let (low, high) = (values.min() ?? 0, values.max() ?? 1)
        let isUnit = low >= 0 && high <= 1
        let (from, to) = example.dtype == .u8 ? (0, 255) : isUnit ? (0, 1) : (low, high > low ? high : low + 1)
        let block = max(1, (max(height, width) + Mistake.largestSide - 1) / Mistake.largestSide)
        let (rows, columns) = ((height + block - 1) / block, (width + block - 1) / block)
        var pixels: [UInt8] = []
        pixels.reserveCapacity(rows * columns * channels)
        for row in 0..<rows {
            for column in 0..<columns {
                for channel in 0..<channels {
                    var (sum, count) = (Float(0), Float(0))
                    for y in row * block..<min(height, (row + 1) * block) {
                        for x in column * block..<min(width, (column + 1) * block) {
                            sum += values[(channel * height + y) * width + x]
                            count += 1
                        }
                    }
                    let shade = (sum / count - from) / (to - from) * 255
                    pixels.append(UInt8(min(255, max(0, shade.isFinite ? shade.rounded() : 0))))
                }
            }
        }
        return try PNGFile.encoded(pixels, width: columns, height: rows, channels: channels)
    }
}

/// Writes pictures as PNG (Portable Network Graphics specification, second edition, ISO/IEC 15948).
enum PNGFile {
    /// - Parameters:
    ///   - pixels: row by row, `channels` bytes a pixel.
    ///   - channels: 1 (grey) or 3 (red, green, blue).
    static func encoded(_ pixels: [UInt8], width: Int, height: Int, channels: Int) throws(DeMLError) -> [UInt8] {
        var rows: [UInt8] = []
        for row in 0..<height {
            // No filter.
            rows.append(0)
            rows += pixels[row * width * channels..<(row + 1) * width * channels]
        }
        var header = bigEndian(UInt32(width)) + bigEndian(UInt32(height))
        header += [8, channels == 3 ? 2 : 0, 0, 0, 0]
        // gzip's deflate stream, without its header of 10 bytes and its trailer of 8, in the wrapping of zlib (RFC 1950).
        let deflated = try Gzip.compress(rows, level: 9).dropFirst(10).dropLast(8)
        let data = [0x78, 0xDA] + deflated + bigEndian(adler32(rows))
        return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
            + chunk("IHDR", header) + chunk("IDAT", data) + chunk("IEND", [])
    }

    private static func chunk(_ name: String, _ body: [UInt8]) -> [UInt8] {
        let content = Array(name.utf8) + body
        return bigEndian(UInt32(body.count)) + content + bigEndian(crc32(content[...]))
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
    }

    private static func adler32(_ bytes: [UInt8]) -> UInt32 {
        var (low, high) = (UInt32(1), UInt32(0))
        for byte in bytes {
            low = (low + UInt32(byte)) % 65521
            high = (high + low) % 65521
        }
        return high << 16 | low
    }
}
