"""
rtsp-server.py ADDRESS PORT: GStreamer's RTSP server with a film, /film, of moving pictures and a tone, without end; and /record,
which takes a tone from a client.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address(sys.argv[1])
server.set_service(sys.argv[2])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=50/1 ! jpegenc ! rtpjpegpay name=pay0 pt=26"
    " audiotestsrc is-live=true ! audio/x-raw,rate=8000 ! alawenc ! rtppcmapay name=pay1 pt=8 )"
)
factory.set_shared(False)
server.get_mount_points().add_factory("/film", factory)
recorder = GstRtspServer.RTSPMediaFactory()
recorder.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
recorder.set_launch("( rtppcmadepay name=depay0 ! alawdec ! fakesink )")
server.get_mount_points().add_factory("/record", recorder)
server.attach(None)
print("listening", flush=True)
GLib.MainLoop().run()
