import Federation
import Foundation
import NeuralNetwork
import Tensors
import Testing

@Suite struct MistakeTests {
    @Test func thePixelsComeBackOutOfThePNG() throws {
        let values: [UInt8] = (0..<20).map { UInt8($0 * 13) }
        let shape = try #require(PictureShape([1, 5, 4]))
        let file = try PNG(try shape.png(try Tensor(dtype: .u8, shape: [1, 1, 5, 4], bytes: values[...])))
        #expect(file.width == 4 && file.height == 5 && file.channels == 1)
        #expect(file.pixels == values)
    }

    @Test func coloursLieSideBySide() throws {
        // Planes of red, green and blue, as models take them; all within 0 and 1.
        let planes = (0..<3).flatMap { channel in [Float](repeating: Float(channel) / 2, count: 16) }
        let shape = try #require(PictureShape([3, 4, 4]))
        let file = try PNG(try shape.png(Tensor(shape: [1, 3, 4, 4], floats: planes)))
        #expect(file.channels == 3)
        #expect(file.pixels == (0..<16).flatMap { _ in [0, 128, 255] as [UInt8] })
    }

    @Test func largePicturesAreMadeSmallerByMeans() throws {
        let shape = try #require(PictureShape([200, 130]))
        let file = try PNG(
            try shape.png(Tensor(shape: [1, 200, 130], floats: [Float](repeating: 0.2, count: 26_000))))
        #expect(file.width == 33 && file.height == 50)
        #expect(file.pixels.allSatisfy { $0 == 51 })
    }

    @Test(arguments: [[4], [2, 8, 8], [3, 2, 2], [1, 5000, 8], [1, 1, 4, 4]]) func whatIsNoPicture(shape: [Int]) {
        #expect(PictureShape(shape) == nil)
    }

    @Test func theSurestAreKeptInTheirOrder() throws {
        let model = try ModelDescription(
            input: .init(shape: [1, 4, 4]),
            layers: try layers("[{\"type\":\"flatten\"},{\"type\":\"linear\",\"out_features\":2}]"),
            loss: .crossEntropy)
        let count = 40
        let examples = try Examples(
            x: Tensor(shape: [count, 1, 4, 4], floats: (0..<count * 16).map { Float($0 % 7) / 7 }),
            y: try Tensor(dtype: .u8, shape: [count], bytes: [UInt8](repeating: 0, count: count)[...]), for: model)
        // Rows of even number are right; the others the surer of the wrong class, the higher their number, in pairs.
        let mistakes = try Mistake.surest(of: examples, shape: [1, 4, 4]) { part in
            Tensor(
                shape: [part.count, 2],
                floats: (0..<part.count).flatMap { row -> [Float] in
                    let wrong = row % 2 == 0 ? 0.2 : 0.5 + Float(row / 4 + 1) / 50
                    return [1 - wrong, wrong]
                })
        }
        #expect(mistakes.map(\.row) == [37, 39, 33, 35, 29, 31, 25, 27, 21, 23, 17, 19])
        #expect(mistakes.allSatisfy { $0.truth == 0 && $0.predicted == 1 && !$0.png.isEmpty })
        #expect(mistakes.count == Mistake.most)
    }

    private func layers(_ json: String) throws -> [Layer] {
        try JSONDecoder().decode([Layer].self, from: Data(json.utf8))
    }
}

/// A PNG without filters, read by the specification: signature, chunks with their checksums, zlib's wrapping.
private struct PNG {
    var width = 0
    var height = 0
    var channels = 0
    var pixels: [UInt8] = []

    init(_ bytes: [UInt8]) throws {
        #expect(bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]))
        func word(_ position: Int) -> Int { bytes[position..<position + 4].reduce(0) { $0 << 8 | Int($1) } }
        var position = 8
        var names: [String] = []
        while position + 12 <= bytes.count {
            let length = word(position)
            let content = bytes[position + 4..<position + 8 + length]
            #expect(crc32(content) == UInt32(word(position + 8 + length)))
            let (name, body) = (String(decoding: content.prefix(4), as: UTF8.self), content.dropFirst(4))
            names.append(name)
            if name == "IHDR" {
                (width, height) = (word(position + 8), word(position + 12))
                channels = bytes[position + 17] == 2 ? 3 : 1
            } else if name == "IDAT" {
                let stride = width * channels + 1
                #expect((Int(body[body.startIndex]) << 8 | Int(body[body.startIndex + 1])) % 31 == 0)
                let rows = try Gzip.inflateRaw(body.dropFirst(2).dropLast(4), count: height * stride)
                for row in 0..<height {
                    #expect(rows[row * stride] == 0)
                    pixels += rows[row * stride + 1..<(row + 1) * stride]
                }
                var (low, high) = (1, 0)
                for byte in rows {
                    low = (low + Int(byte)) % 65521
                    high = (high + low) % 65521
                }
                #expect(word(position + 4 + length) == high << 16 | low)
            }
            position += 12 + length
        }
        #expect(names == ["IHDR", "IDAT", "IEND"])
        #expect(position == bytes.count)
    }
}
