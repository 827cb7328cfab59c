package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	answer := &csi.NodeGetCapabilitiesResponse{}
	for _, kind := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	} {
		can := &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: kind}}
		answer.Capabilities = append(answer.Capabilities, &csi.NodeServiceCapability{Type: can})
	}
	return answer, nil
}

func isMounted(path string) bool {
	return exec.Command("mountpoint", "--quiet", path).Run() == nil
}

func (d *driver) NodePublishVolume(_ context.Context, asked *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	file, err := d.file(asked.VolumeId)
	if err != nil {
		return nil, err
	}
	if isMounted(asked.TargetPath) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	// A node that stands still has it all the same; two would ruin it.
	devices, err := run("losetup", "--noheadings", "--output", "NAME", "--associated", file)
	if err != nil {
		return nil, err
	}
	if devices != "" {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is in use on another node (%s)",
			asked.VolumeId, strings.ReplaceAll(devices, "\n", " "))
	}
	if err := os.MkdirAll(asked.TargetPath, 0o755); err != nil {
		return nil, err
	}
	_, err = run("mount", "-t", "xfs", "-o", "loop", file, asked.TargetPath)
	return &csi.NodePublishVolumeResponse{}, err
}

func (d *driver) NodeUnpublishVolume(_ context.Context, asked *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if isMounted(asked.TargetPath) {
		if _, err := run("umount", asked.TargetPath); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(asked.TargetPath); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (d *driver) NodeExpandVolume(_ context.Context, asked *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	device, err := run("findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint", asked.VolumePath)
	if err != nil {
		return nil, err
	}
	if _, err := run("losetup", "--set-capacity", device); err != nil {
		return nil, err
	}
	_, err = run("xfs_growfs", asked.VolumePath)
	return &csi.NodeExpandVolumeResponse{CapacityBytes: asked.GetCapacityRange().GetRequiredBytes()}, err
}

func (d *driver) NodeGetVolumeStats(_ context.Context, asked *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	said, err := run("df", "--output=size,used,avail,itotal,iused,iavail", "--block-size=1", asked.VolumePath)
	if err != nil {
		return nil, err
	}
	_, row, _ := strings.Cut(said, "\n")
	bytes := &csi.VolumeUsage{Unit: csi.VolumeUsage_BYTES}
	files := &csi.VolumeUsage{Unit: csi.VolumeUsage_INODES}
	fields := []any{&bytes.Total, &bytes.Used, &bytes.Available, &files.Total, &files.Used, &files.Available}
	if _, err := fmt.Sscan(row, fields...); err != nil {
		return nil, status.Errorf(codes.Internal, "df said %q: %v", said, err)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{bytes, files}}, nil
}
