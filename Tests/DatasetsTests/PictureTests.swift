import Datasets
import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct PictureTests {
    static let grey = Data(
        base64Encoded: "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAAAAAC4HznGAAAAEElEQVR4nGNgSDnBYDTtFwAJBALvvOwyagAAAABJ"
            + "RU5ErkJggg==")
    static let colour = Data(
        base64Encoded: "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEklEQVR4nGP4z8DAAMIM/4EAAB/uBfsL2WiLAAAA"
            + "AElFTkSuQmCC")
    /// 8 by 8, red to the left and blue to the right.
    static let jpeg = Data(
        base64Encoded: "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJ"
            + "BwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoK"
            + "CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIAAgDAREAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAA"
            + "AAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAk"
            + "M2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKT"
            + "lJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QA"
            + "HwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdh"
            + "cRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hp"
            + "anN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk"
            + "5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwD80f2qv+YD/wBvX/tGv6o/Zl/81X/3I/8Au4f2p+0M/wCaZ/7n"
            + "f/dQ/9k=")

    private func write(_ data: Data?, _ path: String) throws {
        try Files.createDirectory(try #require(Files.parent(of: path)))
        try Files.writeAtomically([UInt8](try #require(data)), to: path)
    }

    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "deml-pictures-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Files.createDirectory(folder)
        try body(folder)
    }

    @Test func decodes() throws {
        let grey = try PictureFile([UInt8](try #require(Self.grey)))
        #expect((grey.width, grey.height, grey.channels) == (3, 2, 1))
        #expect(grey.pixels == [0, 100, 200, 50, 150, 250])
        #expect(grey.scaled(to: [3, 1, 1]) == [125, 125, 125])
        let colour = try PictureFile([UInt8](try #require(Self.colour)))
        #expect(colour.pixels == [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255])
        #expect(colour.scaled(to: [3, 2, 2]) == [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255])
        #expect(colour.scaled(to: [1, 2, 2]) == [76, 150, 29, 255])
        let jpeg = try PictureFile([UInt8](try #require(Self.jpeg)))
        #expect((jpeg.width, jpeg.height, jpeg.channels) == (8, 8, 3))
        let (left, right) = (jpeg.pixels[..<3], jpeg.pixels[21..<24])
        #expect(left[0] > 200 && left[2] < 60 && right[21] < 60 && right[23] > 200)
    }

    @Test func everyTruncationIsRefused() throws {
        for data in [Self.grey, Self.colour, Self.jpeg] {
            let bytes = [UInt8](try #require(data))
            // The last bytes of a PNG, after its data, are not missed.
            for count in 0..<bytes.count - 14 {
                #expect(failure { _ = try PictureFile(Array(bytes[..<count])) }?.code == .malformed, "\(count)")
            }
        }
    }

    @Test func foldersAreClasses() throws {
        try withFolder { folder in
            for (name, data) in [("oak/a.png", Self.grey), ("oak/b.PNG", Self.colour), ("ash/1.jpg", Self.jpeg)] {
                try write(data, folder + "/" + name)
            }
            let data = try Dataset(path: folder, options: DatasetOptions(testFraction: 0))
            #expect(data.train.x.shape == [3, 3, 32, 32] && data.classNames == ["ash", "oak"])
            #expect(try data.train.y.integers() == [0, 1, 1])
            #expect(data.decisions.contains { $0.subject == "pictures" && $0.text.contains("32×32") })
            #expect(!data.decisions.contains { $0.subject == "left out" })
            // A system's own files are nobody's pictures.
            for name in ["oak/c.webp", "elm/d.tiff", "oak/Thumbs.db", "ash/.DS_Store"] {
                try write(Data([1, 2, 3]), folder + "/" + name)
            }
            let others = try Dataset(path: folder, options: DatasetOptions(testFraction: 0))
            #expect(others.train == data.train)
            #expect(
                others.decisions.contains {
                    $0.subject == "left out" && $0.isWarning && $0.text.hasPrefix("2 ")
                        && $0.text.contains("elm/d.tiff")
                        && $0.text.contains("oak/c.webp")
                })
            var grey = DatasetOptions(testFraction: 0)
            grey.inputShape = [1, 4, 4]
            #expect(try Dataset(path: folder, options: grey).train.x.shape == [3, 1, 4, 4])
            try write(Data([0x89, 0x50, 0x4e, 0x47, 1, 2, 3, 4, 5]), folder + "/oak/bad.png")
            let error = failure { _ = try Dataset(path: folder) }
            #expect(error?.code == .malformed && error?.place?.hasSuffix("oak/bad.png") == true)
            #expect(error?.hint?.contains("out of the folder") == true)
        }
    }

    @Test func trainAndTestFolders() throws {
        try withFolder { folder in
            for name in ["train/x/1.png", "train/y/2.png", "test/y/3.png"] { try write(Self.grey, folder + "/" + name) }
            let data = try Dataset(path: folder)
            #expect(data.train.x.shape == [2, 1, 2, 3] && data.test?.count == 1)
            #expect(try data.test?.y.integers() == [1])
        }
    }
}
