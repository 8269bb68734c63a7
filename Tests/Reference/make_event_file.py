"""The bytes of TensorBoard's own writer, for TensorBoardTests.

    pip install --no-deps tensorboard==2.21.0 protobuf numpy absl-py
    python3 Tests/Reference/make_event_file.py
"""

import io

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

SCALARS = [("test/accuracy", 0.9771), ("test/loss", 0.0), ("a" * 200, float("nan"))]
EVENTS = [
    event_pb2.Event(wall_time=1700000000.25, file_version="brain.Event:2"),
    event_pb2.Event(wall_time=1700000000.25, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)),
    event_pb2.Event(wall_time=1700000001.5, step=300, summary=summary_pb2.Summary(
        value=[summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in SCALARS])),
]


class Kept(io.BytesIO):
    def close(self):
        pass


file = Kept()
writer = RecordWriter(file)
for event in EVENTS:
    writer.write(event.SerializeToString(deterministic=True))
writer.flush()
print(file.getvalue().hex())
